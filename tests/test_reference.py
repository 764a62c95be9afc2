"""The generated pages are those that scripts/reference.py would write, and they name everything there is."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from compressor.cli.main import cli
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.part import Part
from compressor.recipe.schema import Artifact, Evaluation, Model, Recipe
from compressor.rules.catalogue import rules

ROOT = Path(__file__).parents[1]
PAGES = (
    *("docs/reference/recipe.md", "docs/reference/commands.md", "docs/reference/errors.md", "docs/reference/run.md"),
    *("docs/cookbook.md", "recipes/recipe.schema.json"),
)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(group: click.Group, path: str = "compressor") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


@pytest.mark.parametrize("page", PAGES)
def test_page_is_current(page: str, reference: ModuleType) -> None:
    assert reference.is_current(ROOT / page, reference.pages()[ROOT / page]), "run `make reference`"


def test_nothing_else_is_generated(reference: ModuleType) -> None:
    assert sorted(reference.pages()) == sorted(ROOT / page for page in PAGES)


def test_check_tells_and_writing_mends(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "docs" / "page.md"
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "pages", lambda: {page: "a page\n"})
    outcomes = []
    for arguments in (["--check"], [], ["--check"], []):
        monkeypatch.setattr(sys, "argv", ["reference.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            reference.main()
        outcomes.append((ended.value.code, page.exists(), capsys.readouterr().out.replace("\\", "/")))
    assert outcomes == [
        (1, False, "docs/page.md is not current\n"),
        (0, True, "docs/page.md written\n"),
        (0, True, ""),
        (0, True, ""),
    ]


PARTS: list[tuple[str, str, type[Part]]] = [
    ("Recipe reference", "", Recipe),
    ("prune", "", Prune),
    ("repair", "", Repair),
    ("calibration", "calibration.", Calibration),
    ("budget", "sparsity.", Budget),
    *(
        (name, f"{name}.", part)
        for name, part in (("model", Model), ("evaluation", Evaluation), ("artifact", Artifact))
    ),
]


@pytest.mark.parametrize(("title", "prefix", "part"), PARTS, ids=[title for title, _, _ in PARTS])
def test_recipe_reference_names_every_key_and_default(title: str, prefix: str, part: type[Part]) -> None:
    sections = dict(each.split("\n", 1) for each in re.split(r"^#+ ", read("docs/reference/recipe.md"), flags=re.M)[1:])
    lines = sections[title].splitlines()
    for name, field in part.model_fields.items():
        row = next((line for line in lines if line.startswith(f"| `{prefix}{name}` |")), None)
        assert row is not None, f"{prefix}{name}"
        if isinstance(field.default, bool):
            assert f"| `{str(field.default).lower()}` |" in row
        elif isinstance(field.default, str | int | float) and field.default != "":
            assert f"| `{field.default}` |" in row
        assert (field.description or "") in row


def test_recipe_reference_tells_ranges_and_words() -> None:
    text = read("docs/reference/recipe.md")
    for row in (
        "| `evaluation.image_size` | whole number, 32 to 8192 | `640` |",
        "| `evaluation.iou_thres` | number, 0 to 1 | `0.65` |",
        "| `model.fuse` | `before`, `after`, `never` | `before` |",
        "| `sparsity` | number above 0, below 1; or by [target](#targets): number above 0, below 1; "
        "or [budget](#budget) | required but for N:M |",
        "| `table` | text | required with `sensitivity` |",
        "| `seed` | whole number, 0 to 4294967295 | `0` |",
        "| `damping` | number above 0, up to 10 | `0.03` |",
        "| `calibration` | [section](#calibration) | its keys' |",
        "| `sparsity.size` | a size such as `2.5MB` or `60%` | one of the two |",
        "| `sparsity.images` | whole number, 1 or more | `128` |",
        '| `pattern` | `unstructured`; or `"N:M"` with N below M | `unstructured` |',
        "| `version` | `1` | required |",
        "| `extends` | text; or list of text | none |",
    ):
        assert row in text


def test_command_reference_names_every_command_and_option() -> None:
    text = read("docs/reference/commands.md")
    sections = {each.split("\n", 1)[0]: each for each in text.split("\n## ")[1:]}
    known = dict(commands(cli))
    assert sorted(sections) == sorted(known)
    for path, command in known.items():
        assert f"```text\n{path} [OPTIONS]" in sections[path]
        for option in (each for each in command.params if isinstance(each, click.Option)):
            assert f"| `{', '.join(option.opts)}" in sections[path]
            assert (option.help or "").replace("|", "\\|") in sections[path]
    assert "| `--color auto\\|always\\|never` | `auto` | Colour. |" in sections["compressor plan"]
    assert "Example:\n\n```text\ncompressor explain R103\n```" in sections["compressor explain"]


def test_error_reference_names_every_rule_once_with_its_examples() -> None:
    text = read("docs/reference/errors.md")
    sections = {each.split(" ", 1)[0]: each for each in text.split("\n### ")[1:]}
    assert sorted(sections) == [rule.code for rule in rules()]
    for rule in rules():
        section = sections[rule.code]
        assert section.startswith(f"{rule.code} {rule.title}\n\n{rule.text}\n")
        for example in (rule.wrong, rule.right):
            assert example is None or f"\n{example.rstrip()}\n```" in section


def test_cookbook_lists_every_recipe_with_its_purpose() -> None:
    lines = read("docs/cookbook.md").splitlines()
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"| [`{path.stem}`](../recipes/{path.name}) | {load_recipe(path).recipe.description} |" in lines


def test_recipes_of_the_cookbook_are_told_apart_by_their_purpose() -> None:
    purposes = [load_recipe(path).recipe.description for path in (ROOT / "recipes").glob("*.yaml")]
    assert len(set(purposes)) == len(purposes) > 20
    assert all(purpose.endswith(".") and "\n" not in purpose for purpose in purposes)


def test_comments_teach_in_every_recipe_that_does_not_just_name_weights() -> None:
    for path in (ROOT / "recipes").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if set(yaml.safe_load(text)) - {"extends", "description", "model"}:
            assert text.splitlines()[1].startswith("# "), path.name
