from pathlib import Path

import pytest
import torch

from compressor.errors import PlanError
from compressor.plan.layers import ROLES, convolutions
from compressor.plan.targets import targeted
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.yolov5.architecture import Generation, stock_architecture, stock_sizes
from compressor.yolov5.build import build
from tests.tiny import tiny_model

RECIPES = Path(__file__).parents[2] / "recipes"
LAYERS = convolutions(tiny_model())


def recipe(folder: Path, keys: str) -> RecipeFile:
    path = folder / "r.yaml"
    path.write_text(f"version: 1\nmodifiers:\n  - type: prune\n    allocation: lamp\n    sparsity: 0.3\n    {keys}\n")
    return load_recipe(path)


def names(folder: Path, keys: str) -> list[str]:
    return [layer.name for layer in targeted(LAYERS, recipe(folder, keys), 0)]


def test_everything_is_the_default(tmp_path: Path) -> None:
    assert names(tmp_path, "ignore: []") == [layer.name for layer in LAYERS]
    assert names(tmp_path, "targets: [Conv2d]") == [layer.name for layer in LAYERS]


def test_roles_globs_and_patterns(tmp_path: Path) -> None:
    detect = ["model.24.m.0", "model.24.m.1", "model.24.m.2"]
    assert names(tmp_path, "targets: [detect]") == detect
    assert names(tmp_path, 'targets: ["model.24.m.*"]') == detect
    assert names(tmp_path, 'targets: ["re:model[.]24[.]m[.][01]"]') == detect[:2]
    assert names(tmp_path, "targets: [stem, detect]\n    ignore: [model.24.m.1]") == [
        "model.0.conv",
        detect[0],
        detect[2],
    ]


@pytest.mark.parametrize(("generation", "size"), [("v6", "n"), ("v6", "s6"), ("v5", "s"), ("v5", "m6")])
def test_roles_cover_every_layer_of_every_family(generation: Generation, size: str) -> None:
    layers = convolutions(build(stock_architecture(generation, size, nc=2)))
    roles = [layer.role for layer in layers]
    assert set(roles) == set(ROLES)
    assert (roles.count("stem"), roles.count("detect")) == (1, 4 if size.endswith("6") else 3)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_fit_every_size_and_generation(path: Path) -> None:
    recipe_file = load_recipe(path)
    generations: tuple[Generation, Generation] = ("v5", "v6")
    for generation in generations:
        for size in stock_sizes(generation):
            with torch.device("meta"):
                layers = convolutions(build(stock_architecture(generation, size, nc=3)))
            assert targeted(layers, recipe_file, 0) == layers


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            "targets: [backbon]",
            "r.yaml:6:15: P201 'backbon' matches no layer of the model\n  help: did you mean 'backbone'?",
        ),
        ("ignore: [model.99.conv]", "r.yaml:6:14: P201 'model.99.conv' matches no layer"),
        ('targets: ["re:model("]', "r.yaml:6:15: P202 're:model(' is not a regular expression"),
        ("ignore: [Conv2d]", "r.yaml:6:13: P203 modifiers[0] touches no layer"),
    ],
)
def test_entries_that_do_not_fit_are_told_with_their_place(tmp_path: Path, keys: str, expected: str) -> None:
    with pytest.raises(PlanError) as caught:
        names(tmp_path, keys)
    assert str(caught.value).replace(tmp_path.as_posix() + "/", "").startswith(expected)
