from pathlib import Path

import pytest

from compressor.errors import PlanError
from compressor.models.convolution import Convolution
from compressor.models.yolov5.architecture import Generation, stock_architecture, stock_sizes
from compressor.models.yolov5.convolutions import convolutions_of
from compressor.modifiers.prune.groups import exact_count, sparsity_groups
from compressor.modifiers.steps import resolve, resolved
from compressor.plan.outline import Outline
from compressor.plan.targets import Spot
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.modifiers import Prune

RECIPES = Path(__file__).parents[2] / "recipes"
STOCK = convolutions_of(stock_architecture("v6", "n", nc=3))
GENERATIONS: tuple[Generation, ...] = ("v5", "v6")
EVERY_NETWORK = [
    (generation, size, nc) for generation in GENERATIONS for size in stock_sizes(generation) for nc in (1, 80)
]
UNIFORM = "allocation: uniform, sparsity: 0.3"


def recipe(folder: Path, keys: str) -> RecipeFile:
    path = folder / "r.yaml"
    path.write_text(f"version: 1\nmodifiers:\n  - {{type: prune, {keys}}}\n")
    return load_recipe(path)


def names(folder: Path, keys: str) -> list[str]:
    recipe_file = recipe(folder, keys)
    (step,) = resolve(recipe_file.recipe.modifiers, Outline(STOCK), recipe_file)
    return [convolution.name for convolution in step.convolutions]


def test_everything_is_the_default(tmp_path: Path) -> None:
    assert names(tmp_path, UNIFORM) == [convolution.name for convolution in STOCK]
    assert names(tmp_path, f"{UNIFORM}, targets: [Conv2d]") == [convolution.name for convolution in STOCK]


def test_roles_types_kernels_globs_and_patterns(tmp_path: Path) -> None:
    detect = ["model.24.m.0", "model.24.m.1", "model.24.m.2"]
    assert names(tmp_path, f"{UNIFORM}, targets: [detect]") == detect
    assert names(tmp_path, f"{UNIFORM}, targets: [Detect]") == detect
    assert names(tmp_path, f'{UNIFORM}, targets: ["model.24.m.*"]') == detect
    assert names(tmp_path, f'{UNIFORM}, targets: ["re:model[.]24[.]m[.][01]"]') == detect[:2]
    assert names(tmp_path, f"{UNIFORM}, targets: [stem, detect], ignore: [model.24.m.1]") == [
        "model.0.conv",
        detect[0],
        detect[2],
    ]
    three = [convolution.name for convolution in STOCK if convolution.shape[2:] == (3, 3)]
    for entry in ("{kernel: 3x3}", '"kernel: 3x3"'):
        assert names(tmp_path, f"{UNIFORM}, targets: [{entry}]") == three
    assert names(tmp_path, f"{UNIFORM}, targets: [SPPF]") == ["model.9.cv1.conv", "model.9.cv2.conv"]
    assert all(".m." in name for name in names(tmp_path, f"{UNIFORM}, targets: [Bottleneck]"))


def test_sparsities_name_the_targets_and_the_last_match_counts(tmp_path: Path) -> None:
    keys = 'allocation: lamp, sparsity: {backbone: 0.5, "kernel: 3x3": 0.3, model.1.conv: 0.1}'
    modifier = recipe(tmp_path, keys).recipe.modifiers[0]
    assert isinstance(modifier, Prune)
    (step,) = resolve([modifier], Outline(STOCK), recipe(tmp_path, keys))
    groups = sparsity_groups(step.convolutions, modifier)
    sparsities = {c.name: group.sparsity for group in groups for c in group.convolutions}
    assert (sparsities["model.1.conv"], sparsities["model.3.conv"], sparsities["model.2.cv1.conv"]) == (0.1, 0.3, 0.5)
    assert sparsities["model.17.m.0.cv2.conv"] == 0.3  # a 3x3 of the neck
    assert "model.24.m.0" not in sparsities
    assert [group.sparsity for group in sparsity_groups(STOCK, modifier)] == [0.5, 0.3, 0.1]


@pytest.fixture(scope="module")
def networks() -> dict[tuple[Generation, str, int], tuple[Convolution, ...]]:
    """The convolutions of every stock network with few and with many classes."""
    return {each: convolutions_of(stock_architecture(*each)) for each in EVERY_NETWORK}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_fit_every_size_generation_and_class_count(
    path: Path, networks: dict[tuple[Generation, str, int], tuple[Convolution, ...]]
) -> None:
    recipe_file = load_recipe(path)
    for (generation, size, nc), convolutions in networks.items():
        for index, modifier in enumerate(recipe_file.recipe.modifiers):
            outline = Outline(convolutions, altered=frozenset({"zeros"}))
            assert not resolved(modifier, Spot(recipe_file, index), outline)[1], (generation, size, nc)


@pytest.mark.parametrize(
    ("keys", "at", "expected"),
    [
        (
            f"targets: [backbon], {UNIFORM}",
            "backbon",
            "P201 'backbon' matches no layer of the model\n  help: did you mean",
        ),
        (f"ignore: [model.99.conv], {UNIFORM}", "model.99", "P201 'model.99.conv' matches no layer"),
        (
            f"targets: [model.2.cv1], {UNIFORM}",
            "model.2",
            "P201 'model.2.cv1' matches no layer of the model\n  help: did y",
        ),
        (
            f"targets: [DETECT], {UNIFORM}",
            "DETECT",
            "P201 'DETECT' matches no layer of the model\n  help: did you mean 'd",
        ),
        (f"targets: [Focus], {UNIFORM}", "Focus", "P201 'Focus' matches no layer"),
        (
            f'targets: ["kernel: 5x5"], {UNIFORM}',
            '"kernel',
            "P201 'kernel: 5x5' matches no layer of the model\n  help: th",
        ),
        (
            'pattern: "2:4"',
            '"2:4"',
            "P202 2:4 needs 4 input channels: model.0.conv has 3\n  help: leave out what cannot",
        ),
        (
            'pattern: "1:24"',
            '"1:24"',
            "P202 1:24 needs 24 input channels: model.0.conv has 3, model.1.conv has 16, model.2.m.0.cv1.co",
        ),
        (f"ignore: [Conv2d], {UNIFORM}", "[Conv2d", "P203 modifiers[0] touches no layer"),
        ("allocation: global, sparsity: 1.0e-9", "1.0e-9", "P204 sparsity 1e-09 of 1,758,400 targeted"),
        ("allocation: uniform, sparsity: 0.99999999", "0.99999999", "P204 sparsity 0.99999999 of 1,758,400 targeted"),
        (
            "allocation: erk, sparsity: {stem: 1.0e-6}",
            "{stem",
            "P204 sparsity 1e-06 of 1,728 targeted weights takes no",
        ),
        (
            "allocation: erk, targets: [backbone, detect], sparsity: {backbone: 0.5}",
            "{backbone: 0.5",
            "P206 no key of sparsity covers model.24.m.0, model.24.m.1, model.24.m.2",
        ),
        (f"targets: [backbone], ignore: [detect], {UNIFORM}", "detect", "P207 'detect' leaves nothing out"),
        (
            "allocation: erk, sparsity: {stem: 0.3, Conv2d: 0.5}",
            "stem",
            "P207 the sparsity of 'stem' counts for no lay",
        ),
        (f"targets: [neck, neck], {UNIFORM}", "neck], a", "P207 'neck' adds nothing"),
        (
            f"targets: [neck], ignore: [kernel: 3x3, model.13.m.0.cv2.conv], {UNIFORM}",
            "model.13",
            "P207 'model.13.m.0.cv2",
        ),
        ("allocation: erk, sparsity: {bakbone: 0.3}", "bakbone", "P201 'bakbone' matches no layer"),
        ("allocation: erk, sparsity: {stem: 0.3, necc: 0.5}", "necc", "P201 'necc' matches no layer"),
    ],
)
def test_entries_that_do_not_fit_are_told_with_their_place(tmp_path: Path, keys: str, at: str, expected: str) -> None:
    with pytest.raises(PlanError) as caught:
        names(tmp_path, keys)
    (fault,) = caught.value.diagnostics
    line = (tmp_path / "r.yaml").read_text().splitlines()[2]
    assert (fault.line, fault.column) == (3, line.index(at) + 1)
    assert f"{fault.code} {fault.message}\n  help: {fault.help}".startswith(expected)


def test_every_misfit_of_a_modifier_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        names(tmp_path, f"targets: [necc, steam], ignore: [detekt], {UNIFORM}")
    assert [fault.code for fault in caught.value.diagnostics] == ["P201"] * 3


def test_count_rounds_half_to_even_as_upstream_does() -> None:
    assert [exact_count(0.5, n) for n in (1, 3, 5)] == [0, 2, 2]
