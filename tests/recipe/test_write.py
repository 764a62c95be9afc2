"""What is written as YAML reads back as it was, and stands in its file whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.errors import Diagnostic, OutputError
from compressor.progress import Silent
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers.budget import is_budget
from compressor.recipe.nodes import parse
from compressor.recipe.schema import Recipe
from compressor.recipe.variables import escaped
from compressor.recipe.write import check_recipe_place, resolved_text, value_text, write_recipe

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
RECIPE = "version: 1\nmodifiers:\n  - {type: prune, allocation: uniform, sparsity: 0.3}\n"


def resolve_again(recipe: Recipe, folder: Path) -> Recipe:
    path = folder / "again.yaml"
    path.write_text(resolved_text(recipe), encoding="utf-8")
    return load_recipe(path).recipe


SPARSITIES = "modifiers: [{type: prune, allocation: erk, sparsity: {backbone: 0.5, 'kernel: 3x3': 0.25}}]"
KERNELS = "modifiers: [{type: prune, allocation: lamp, sparsity: 0.5, targets: [kernel: 3x3], ignore: [neck]}]"
TWO_OF_FOUR = 'modifiers: [{type: prune, pattern: "2:4", ignore: [stem]}]'
AP_BUDGET = "modifiers: [{type: prune, allocation: lamp, sparsity: {ap_drop: 0.005, images: 64}}]"
SIZE_BUDGET = "modifiers: [{type: prune, allocation: sensitivity, table: t.json, sparsity: {size: 60%}}]"
REPAIRS = """modifiers:
  - {type: prune, score: wanda, allocation: lamp, sparsity: 0.5, calibration: {data: images, seed: 4}}
  - {type: prune, score: random, allocation: lamp, sparsity: 0.6}
  - {type: repair, damping: 0.1}
  - {type: repair, method: distill, steps: 10, calibration: {images: 64}, ignore: [stem]}"""
STEPS = {
    "sparsities": SPARSITIES,
    "kernels": KERNELS,
    "two of four": TWO_OF_FOUR,
    "a budget of AP": AP_BUDGET,
    "a budget of size": SIZE_BUDGET,
    "repairs": REPAIRS,
}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_resolved_shipped_recipe_resolves_to_the_same(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path).recipe
    assert resolve_again(recipe, tmp_path) == recipe


@pytest.mark.parametrize("text", STEPS.values(), ids=STEPS)
def test_resolved_recipe_resolves_to_the_same(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"version: 1\n{text}\n", encoding="utf-8")
    recipe = load_recipe(path).recipe
    assert "null" not in resolved_text(recipe)
    assert "{" not in resolved_text(recipe)
    assert resolve_again(recipe, tmp_path) == recipe


TRAPS = st.sampled_from(["1e-3", "yes", "2:4", "${", "$${", "$$${x}", "0o7", "2026-01-01", "~", "", "# no", "a: b"])
WORDS = st.text(st.characters(codec="utf-8")) | TRAPS
FRACTIONS = st.floats(0, 1, exclude_min=True, exclude_max=True)
TARGETS = WORDS.filter(lambda text: bool(text.strip()) and not text.startswith(("re:", "kernel:")))
KEYS = TARGETS.filter(lambda text: "${" not in text and not is_budget({text: 0.5}))


@settings(deadline=None)
@given(description=WORDS, ignore=st.lists(TARGETS), sparsities=st.dictionaries(KEYS, FRACTIONS, min_size=1))
def test_any_text_and_number_comes_back(
    description: str, ignore: list[str], sparsities: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    modifier = {"type": "prune", "allocation": "uniform", "sparsity": sparsities, "ignore": ignore}
    recipe = Recipe.model_validate({"version": 1, "description": description, "modifiers": [modifier]})
    assert resolve_again(recipe, tmp_path_factory.getbasetemp()) == recipe


@settings(deadline=None)
@given(value=WORDS | FRACTIONS | st.booleans() | st.integers(0, 10_000) | st.lists(WORDS).map(tuple))
def test_any_value_comes_back_from_one_line(value: object) -> None:
    faults: list[Diagnostic] = []
    text = value_text(value)
    assert len(text.splitlines()) == 1
    document = parse(f"key: {text}  # more\n", "", faults).plain()
    assert faults == []
    assert isinstance(document, dict)
    read = document["key"]
    if isinstance(value, tuple):
        assert read == [escaped(word) for word in value]
    else:
        assert read == (escaped(value) if isinstance(value, str) else value)


def test_plain_words_stay_without_quotes() -> None:
    assert value_text("runs/best 2.pt") == "runs/best 2.pt"
    assert value_text(("stem", "re:[a-z]{2}", "kernel: 3x3")) == "[stem, 're:[a-z]{2}', \"kernel: 3x3\"]"
    assert value_text("two\nlines\u2028") == r'"two\nlines\L"'
    assert value_text("${x}") == "$${x}"


def test_recipe_is_replaced_only_when_asked_to(tmp_path: Path) -> None:
    place = tmp_path / "new" / "mine.yaml"
    write_recipe(RECIPE, place, Silent(), force=False)
    assert [path.name for path in place.parent.iterdir()] == ["mine.yaml"]
    with pytest.raises(OutputError, match=r"mine[.]yaml: O601 there is a recipe here already\n .*--force"):
        write_recipe("version: 2\n", place, Silent(), force=False)
    assert place.read_text(encoding="utf-8") == RECIPE
    write_recipe("version: 2\n", place, Silent(), force=True)
    assert place.read_text(encoding="utf-8") == "version: 2\n"
    check_recipe_place(place, force=True)  # unfinished, and still a recipe
    assert [path.name for path in place.parent.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("name", ["weights.pt", "notes.txt", "folder", "link.yaml", "dangling.yaml", "broken.yaml"])
def test_what_is_not_a_recipe_is_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02}\xff")
    (tmp_path / "notes.txt").write_text("buy milk\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "right.yaml").write_text(RECIPE)
    (tmp_path / "link.yaml").symlink_to("right.yaml")
    (tmp_path / "dangling.yaml").symlink_to("nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("version: [\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(OutputError, match="O603 there is something here that is not a recipe\n"):
        check_recipe_place(tmp_path / name, force=True)
    with pytest.raises(OutputError, match="O603 there is something here that is not a recipe\n"):
        write_recipe(RECIPE, tmp_path / name, Silent(), force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert (tmp_path / "dangling.yaml").is_symlink()


def test_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="O602 cannot write here: "):
        write_recipe(RECIPE, tmp_path / "file" / "mine.yaml", Silent(), force=False)
    with pytest.raises(OutputError, match="O602 cannot write here: "):
        write_recipe(RECIPE, tmp_path / ("x" * 250), Silent(), force=False)
