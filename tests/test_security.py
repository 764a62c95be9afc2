"""SECURITY.md lists every key that opens a file or a URL; and what such keys may not reach."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from compressor.data.description import SPLITS, Description
from compressor.errors import CompressorError, InputError
from compressor.recipe.load import load_recipe
from compressor.recipe.overrides import parse_set
from compressor.recipe.part import Part, models_in, words_of
from compressor.recipe.schema import FILE_KEYS, Recipe
from compressor.report.html import page
from compressor.report.render import read_template

TABLE = Path(__file__).parents[1] / "SECURITY.md"
NO_PATHS = {  # keys with free text that opens nothing
    "description",
    "report.fail_if",
    "modifiers.pattern",
    "modifiers.sparsity",
    "modifiers.sparsity.size",
    "modifiers.targets",
    "modifiers.ignore",
}
NO_PATHS_OF_FILES = {"variables"}
NO_PATHS_OF_DATA = {"names"}


def holds_text(annotation: Any) -> bool:
    """Whether a key may hold text that is none of a few words."""
    if annotation is str:
        return True
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return False
    if words_of(annotation):
        return any(holds_text(each) for each in get_args(annotation) if not words_of(each))
    return any(holds_text(each) for each in get_args(annotation))


def text_keys(part: type[Part], place: str = "") -> Iterator[str]:
    for name, field in part.model_fields.items():
        key = f"{place}{name}"
        if holds_text(field.annotation):
            yield key
        for inner in models_in(field.annotation):
            yield from text_keys(inner, f"{key}.")


def listed() -> set[str]:
    text = TABLE.read_text(encoding="utf-8")
    section = text[text.index("## What a file of a stranger may open") : text.index("## What is not promised")]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall("`([^`]+)`", row)}


def test_every_key_that_opens_something_is_listed() -> None:
    of_recipes = set(text_keys(Recipe)) - NO_PATHS | set(FILE_KEYS) - NO_PATHS_OF_FILES
    written = {"root": {"path"}, "sources": set(SPLITS)}
    of_data = {key for field in fields(Description) for key in written.get(field.name, {field.name})} - NO_PATHS_OF_DATA
    assert listed() == of_recipes | of_data
    assert set(text_keys(Recipe)) >= NO_PATHS


GOOD = "version: 1\nmodifiers:\n  - {type: prune, allocation: uniform, sparsity: 0.5}\n"
SECRET = "{{ run.name }} root:x:0:0"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (tmp_path / "secret").write_text(SECRET)
    (folder / "mine.md.j2").write_text("{{ run.name }}")
    (folder / "notes.md").write_text("only words")
    (folder / "link.md.j2").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../secret", "U940"),
        ("link.md.j2", "U940"),
        ("/etc/passwd", "U940"),
        ("/dev/zero", "U940"),
        ("pipe", "U901"),
        ("notes.md", "U941"),
        ("none.md", "U901"),
        (".", "U901"),
    ],
)
def test_a_template_that_a_recipe_may_not_name(place: Path, name: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_template(place / name, place)
    assert caught.value.diagnostics[0].code == code
    assert "root:x" not in str(caught.value)


def test_a_large_template_is_not_read(place: Path) -> None:
    with (place / "large").open("wb") as file:
        file.truncate(5 * 10**9)
    with pytest.raises(InputError, match="U901"):
        read_template(place / "large", place)


def test_a_template_below_the_recipe_or_of_the_command_line(place: Path) -> None:
    assert read_template(place / "mine.md.j2", place) == "{{ run.name }}"
    assert read_template(place.parent / "secret") == SECRET
    (place / "r.yaml").write_text(GOOD + "report: {template: mine.md.j2}\n")
    recipe = load_recipe(place / "r.yaml")
    assert not recipe.on_command_line("report", "template")
    assert recipe.folder("report", "template") == place
    recipe = load_recipe(place / "r.yaml", (parse_set("report.template=../secret"),))
    assert recipe.on_command_line("report", "template")
    assert recipe.folder("report", "template") == place


def test_a_recipe_called_like_an_option_is_not_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    Path("--set.yaml").write_text(GOOD + "report: {template: ../secret}\n")
    assert not load_recipe(Path("--set.yaml")).on_command_line("report", "template")


def test_what_a_recipe_extends_elsewhere_is_not_shown(place: Path) -> None:
    for text in ("root:x:0:0 secret words", "password: secret words", "version: secret words"):
        (place.parent / "secret").write_text(text)
        (place / "r.yaml").write_text("extends: ../secret\n" + GOOD.removeprefix("version: 1\n"))
        with pytest.raises(CompressorError) as caught:
            load_recipe(place / "r.yaml")
        assert "secret words" not in str(caught.value) and "password" not in str(caught.value)
        assert "compressor check" in str(caught.value)


def test_a_page_holds_no_picture_that_is_a_link_out_of_the_run(place: Path) -> None:
    (place / "sparsity.png").symlink_to(place.parent / "secret")
    assert "data:image" not in page("![zeros](sparsity.png)", "run", place)
    (place / "sparsity.png").unlink()
    (place / "sparsity.png").write_bytes(b"picture")
    assert "data:image" in page("![zeros](sparsity.png)", "run", place)
