"""`compressor explain`, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compressor.cli.explain import body
from compressor.rules.catalogue import Rule, rules
from trials.commands import compressor

R113 = """R113 Empty recipe

The file holds nothing but comments or blank lines. An empty recipe is mostly a file that was not
saved, so it is not taken for one that asks for nothing. The least a recipe needs is `version` and
one modifier, or `extends`.

Wrong:
    # to be written

Right:
    version: 1
    modifiers:
      - {type: prune, allocation: uniform, sparsity: 0.3}
"""


def test_code_is_explained_with_examples(tmp_path: Path) -> None:
    done = compressor("explain", "R113", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, R113, "")


def test_several_codes_come_in_the_order_asked_for_and_once(tmp_path: Path) -> None:
    done = compressor("explain", "w306", "R113", "W306", cwd=tmp_path)
    assert done.returncode == 0
    first, second = done.stdout.split("\n\nR113 ")
    assert first.startswith("W306 Weights that are not finite\n\n")
    assert f"R113 {second}" == R113
    assert "Wrong:" not in first


def test_title_is_bold_in_colour(tmp_path: Path) -> None:
    done = compressor("explain", "R113", "--color", "always", cwd=tmp_path)
    assert done.stdout.startswith("\x1b[1mR113 Empty recipe\x1b[0m\n")


def test_all_codes_are_listed_without_one(tmp_path: Path) -> None:
    done = compressor("explain", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, line, *rows = done.stdout.splitlines()
    assert head.split() == ["code", "title"]
    assert set(line) == {"-", " "}
    assert [tuple(row.split(maxsplit=1)) for row in rows] == [(rule.code, rule.title) for rule in rules()]


@pytest.mark.parametrize("codes", [(), ("R103", "d409")])
def test_json_is_one_document(codes: tuple[str, ...], tmp_path: Path) -> None:
    done = compressor("explain", *codes, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert list(document) == ["schema", "rules"]
    assert document["schema"] == "compressor/rules/1"
    expected = [code.upper() for code in codes] or [rule.code for rule in rules()]
    assert [rule["code"] for rule in document["rules"]] == expected
    assert all(list(rule) == ["code", "title", "text", "kind", "wrong", "right"] for rule in document["rules"])


def test_every_unknown_code_is_told(tmp_path: Path) -> None:
    done = compressor("explain", "R113", "R999", "W310", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "U904 there is no rule 'R999'\n"
        "  help: `compressor explain` without a code lists them all\n"
        "U904 there is no rule 'W310'\n"
        "  help: did you mean 'W331'?\n"
    )


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.code)
def test_text_fits_a_page(rule: Rule) -> None:
    assert max(map(len, body(rule).splitlines())) <= 100


def test_paragraphs_are_wrapped_and_examples_are_not() -> None:
    long = "key: " + "x" * 120
    rule = Rule("R100", "Title", "word " * 25 + "\n\nend-of-" + "y" * 96, "recipe", f"{long}\n\n  b: 1\n", None)
    words = " ".join(["word"] * 20)
    assert body(rule) == f"{words}\n{words[:24]}\n\nend-of-{'y' * 96}\n\nWrong:\n    {long}\n\n      b: 1"
