from pathlib import Path

import pytest

from compressor.errors import RecipeError
from compressor.recipe.load import load_recipe
from compressor.recipe.overrides import Override, parse_set

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
MINIMAL = "version: 1\nmodifiers:\n  - {type: prune, allocation: lamp, sparsity: 0.3}\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_say_what_they_are_for(path: Path) -> None:
    assert load_recipe(path).recipe.description


def test_shipped_family_differs_only_in_its_weights() -> None:
    folder = RECIPES[0].parent
    for kind in ("uniform30", "global30"):
        dumps = [
            load_recipe(folder / f"yolov5{size}_{kind}.yaml").recipe.model_dump(exclude={"description", "model"})
            for size in "nsmlx"
        ]
        assert all(dump == dumps[0] for dump in dumps)


def test_extended_values_merge_and_lists_are_replaced(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", MINIMAL + "evaluation: {batch_size: 8, image_size: 320}\n")
    write(tmp_path, "b.yaml", "artifact: {dtype: float32}\n")
    top = write(
        tmp_path,
        "top.yaml",
        "extends: [a.yaml, b.yaml]\nevaluation: {batch_size: 4}\n"
        "modifiers:\n  - {type: prune, allocation: erk, sparsity: 0.5}\n",
    )
    recipe = load_recipe(top).recipe
    assert (recipe.evaluation.batch_size, recipe.evaluation.image_size) == (4, 320)
    assert recipe.artifact.dtype == "float32"
    assert [step.model_dump()["allocation"] for step in recipe.modifiers] == ["erk"]


def test_overrides_win_and_the_last_wins(tmp_path: Path) -> None:
    path = write(tmp_path, "r.yaml", MINIMAL)
    sets = [parse_set("modifiers.0.sparsity=0.5"), parse_set("modifiers.0.sparsity=0.7"), parse_set("data=1.yaml")]
    recipe = load_recipe(path, (*sets, Override(("model", "weights"), "5", "--weights", literal=True))).recipe
    assert recipe.modifiers[0].model_dump()["sparsity"] == 0.7
    assert (recipe.data, recipe.model.weights) == ("1.yaml", "5")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("modifiers.0.sparsity=2", "--set modifiers.0.sparsity=2: R103 modifiers[0].sparsity must be below 1, got 2"),
        ("modifiers.3.sparsity=0.2", "--set modifiers.3.sparsity=0.2: R110 there is no position 3 in a list of 1"),
        ("modifiers.0.sparsty=0.2", "--set modifiers.0.sparsty=0.2: R101 unknown key 'sparsty' in modifiers[0]"),
        ("evaluation.baseline=no", "--set evaluation.baseline=no: R107 YAML reads no as a truth value"),
        ("modifiers.²=1", "--set modifiers.²=1: R110 there is no position ²"),
        ("extends=a.yaml", "--set extends=a.yaml: R110 what a recipe extends stands in its file"),
        ("version=true", "--set version=true: R104 version must be a whole number, got true"),
        ("sparsity", "--set sparsity: R110 not of the form path=value"),
        ("evaluation=[", "--set evaluation=[: R100 not valid YAML"),
    ],
)
def test_faulty_override_names_its_flag(tmp_path: Path, argument: str, expected: str) -> None:
    path = write(tmp_path, "r.yaml", MINIMAL)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, (parse_set(argument),))
    assert str(caught.value).startswith(expected)


def test_places_point_into_the_file_a_value_came_from(tmp_path: Path) -> None:
    base = write(tmp_path, "base.yaml", MINIMAL)
    recipe_file = load_recipe(write(tmp_path, "top.yaml", "extends: base.yaml\ndata: coco.yaml\n"))
    place = recipe_file.place("modifiers", 0, "sparsity")
    assert (place.path, place.line, place.column) == (base.as_posix(), 3, 47)
    assert recipe_file.place("modifiers", 0, "ignore", 2).line == 3


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    write(tmp_path, "prune.yaml", MINIMAL)
    with pytest.raises(RecipeError, match=r"did you mean 'prune.yaml'"):
        load_recipe(tmp_path / "prun.yaml")


def test_no_text_leaves_the_reader_other_than_by_a_recipe_error(tmp_path: Path) -> None:
    for number, data in enumerate([b"\xff\xfe", b"a: \x00", b"- " * 5000, b"{" * 3000, b"[1, 2", b"\t- a: b"]):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(data)
        with pytest.raises(RecipeError):
            load_recipe(path)


@pytest.mark.parametrize("value", ["1" * 5000, "0." + "1" * 5000, '"a\\ud800b"'])
def test_absurd_values_are_told_and_not_converted(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, "r.yaml", f"{MINIMAL}description: {value}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:4:14: R107") as caught:
        load_recipe(path)
    str(caught.value).encode()
