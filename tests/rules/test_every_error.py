"""Every user-visible error has a rule, a mend and a message that reads well, and is met by a test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from compressor.rules.catalogue import find_rule, rules

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "compressor").rglob("*.py"))
CODE = re.compile(r"\b[ADENOPRUW][0-9]{3}\b")
GOLDEN = sorted((ROOT / "tests" / "recipe" / "faults").rglob("*.txt"))
NO_EVIDENCE = ("test_explain.py", "test_completion.py", "test_every_error.py")  # only name codes
PYTHON = re.compile(r"\bNone\b|NoneType|<class|object at 0x|\btuple\b|\bdict\b|\bdiscriminator\b|Traceback|\bself\b")
LONGEST = 200  # characters


@dataclass(frozen=True)
class Site:
    """One call of Diagnostic: where, its code, and the pieces of its message, a hole for what is filled in."""

    file: str
    line: int
    code: str
    messages: tuple[str, ...]
    mends: bool


@lru_cache(maxsize=1)
def sites() -> tuple[Site, ...]:
    return tuple(site for file in SOURCES for site in sites_of(ast.parse(file.read_text("utf-8")), file))


def sites_of(tree: ast.Module, file: Path) -> Iterator[Site]:
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef):
            continue
        texts = dict[str, list[str]]()
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign):
                for name, value in pairs(node):
                    texts.setdefault(name, []).extend(literal(value))
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Diagnostic":
                code, message = node.args[:2]
                found = literal(message) or texts.get(ast.unparse(message), [])
                given = [word.value for word in node.keywords if word.arg == "help"] + node.args[5:6]
                mends = bool(given) and ast.unparse(given[0]) != "None"
                place = file.relative_to(ROOT / "compressor").as_posix()
                yield Site(place, node.lineno, ast.unparse(code).strip("'"), tuple(found), mends)


def pairs(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    """Names and what they are set to, also where several are set at once."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(map(ast.unparse, target.elts), node.value.elts, strict=True)
        else:
            yield ast.unparse(target), node.value


def literal(node: ast.expr) -> list[str]:
    """The texts that an expression may be, with @ for what is filled in; none where it is no text that stands there."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return ["".join(str(each.value) if isinstance(each, ast.Constant) else "@" for each in values)]
        case ast.IfExp(body=body, orelse=orelse):
            return literal(body) + literal(orelse)
        case _:
            return []


def test_the_walk_finds_what_there_is() -> None:
    found = sites()
    assert len(found) >= 100
    assert sum(bool(site.messages) for site in found) >= 75
    assert {site.code for site in found if CODE.fullmatch(site.code)} <= {rule.code for rule in rules()}


def test_every_site_names_a_mend() -> None:
    assert not [(site.file, site.code) for site in sites() if not site.mends]


def test_every_message_in_the_source_reads_well() -> None:
    for site in sites():
        for message in site.messages:
            where = f"{site.file}:{site.line} {message}"
            assert re.match(r"[a-z@'`$\"(0-9]|YAML|COCO|N:M|AP\b|float", message), where
            assert not message.rstrip().endswith((".", "!")), where
            assert "\n" not in message and "  " not in message, where
            assert not PYTHON.search(message), where
            assert len(message) < LONGEST, where


TOLD = re.compile(r"^(?:\S+\.yaml(?::\d+:\d+)?|--\S+): ([A-Z]\d{3}) (.+)(?:\n  help: (.+))?$", re.MULTILINE)


def test_every_message_that_a_bad_recipe_gets_reads_well() -> None:
    count = 0
    for file in GOLDEN:
        for code, message, mend in TOLD.findall(file.read_text("utf-8")):
            count += 1
            where = f"{file.name}: {code} {message}"
            assert find_rule(code)
            assert mend or " must be " in message, where  # which says what to write
            assert not message.endswith("."), where
            written = re.sub(r"'[^']*'|\$\{[^}]*\}", "'...'", message)  # what the user wrote is shown as it is
            assert not PYTHON.search(written), where
            assert len(written) < LONGEST, where
    assert count > 500


@lru_cache(maxsize=1)
def met_by_tests() -> frozenset[str]:
    """Codes that stand anywhere in a golden text of faults or in a test file, those aside that name codes only."""
    tests = [file for file in (ROOT / "tests").rglob("*.py") if file.name not in NO_EVIDENCE]
    return frozenset(code for file in (*GOLDEN, *tests) for code in CODE.findall(file.read_text("utf-8")))


@pytest.mark.parametrize("code", sorted({rule.code for rule in rules()}))
def test_every_error_is_met_by_a_test_and_documented(code: str) -> None:
    assert code in met_by_tests()
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert f"### {code} {find_rule(code).title}\n" in page
