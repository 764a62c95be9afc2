"""Shipped recipes are found by name, and a file of one's own wins."""

from pathlib import Path

import pytest

from compressor.recipe.load import load_recipe
from compressor.recipe.shipped import FOLDER, found, shipped


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "recipes/demo.yaml"])
def test_a_shipped_recipe_is_found_in_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(Path(name))
    assert FOLDER is not None
    assert (recipe.path, recipe.name) == (FOLDER / "demo.yaml", "demo")


def test_a_file_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo.yaml").write_text("version: 1\n")
    assert found(Path("demo.yaml")) == Path("demo.yaml")
    assert shipped("no_such_recipe") is None


def test_extends_finds_shipped_recipes(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: demo.yaml\ndescription: mine\n")
    recipe = load_recipe(tmp_path / "mine.yaml").recipe
    assert recipe.description == "mine"
    assert recipe.modifiers
