import copy
import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compressor.artifact.save import Form, Provenance, encode_model, round_to_dtype
from compressor.artifact.size import holds_exactly
from compressor.errors import CheckpointError, InputError, PlanError, RecipeError
from compressor.models.detector import Detector
from compressor.models.yolov5 import describe
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.overrides import parse_set
from compressor.recipe.schema import Artifact, Evaluation, Model, Recipe
from compressor.run import pipeline
from compressor.run.pipeline import plan
from compressor.run.readiness import Options
from compressor.tasks.init import ALLOCATION, IMAGES, SPARSITY, Goal, Starter, _Candidates, start
from trials.tiny import tiny_data, tiny_model

NASTY = ('it\'s "#1": ${x}', "new\nline\u2028\x85\x1b[31m", "ship 🚢 Größe")
GOALS = {
    "default": Goal(),
    "sparsity": Goal(sparsity=0.5),
    "lamp": Goal(sparsity=0.7, allocation="lamp"),
    "size": Goal(size_bytes=170_000),
    "share": Goal(share=0.8),
    "share, erk": Goal(share=0.75, allocation="erk"),
    "share, uniform": Goal(share=0.9, allocation="uniform"),
    "pattern": Goal(pattern="2:4"),
    "wide pattern": Goal(pattern="3:16"),
}


def saved(model: Detector, folder: Path, name: str = "tiny.safetensors") -> str:
    path = folder / name
    path.write_bytes(encode_model(model, Form("float32", "dense"), Provenance({}, "tiny", "0" * 64)))
    return str(path)


def model_that_float16_holds() -> Detector:
    """As checkpoints are; its file holds BatchNorm apart. One channel is scaled by zero."""
    model = tiny_model()
    model.state_dict()["model.1.bn.weight"][0] = 0.0
    round_to_dtype(model, "float16")
    assert holds_exactly("float16", model)
    return model


def model_that_float16_does_not_hold() -> Detector:
    """With numbers between float16's, and weights that vanish in it once BatchNorm is folded in."""
    model = tiny_model()
    model.state_dict()["model.3.bn.weight"][0] = 1e-9
    model.state_dict()["model.5.bn.weight"][:3] = 1e-6
    assert not holds_exactly("float16", model)
    return model


def nasty_model() -> Detector:
    model = tiny_model()
    model.names = NASTY
    return model


def sparse_model() -> Detector:
    """With half of the weights zero, and 2 of every 4 where that can be."""
    model = fuse(tiny_model())
    prune(convolutions(model), Prune(type="prune", allocation="uniform", sparsity=0.5))
    prune(convolutions(model)[1:], Prune(type="prune", pattern="2:4"))
    return model


def thin_model(width: float, names: tuple[str, ...] = ("thing",), size: str = "n") -> Detector:
    return build(replace(stock_architecture("v6", size, nc=len(names)), width_multiple=width), names).eval()


MODELS: dict[str, Callable[[], Detector]] = {
    "held": model_that_float16_holds,
    "not held": model_that_float16_does_not_hold,
    "folded": lambda: tiny_model(fused=True),
}

# Every goal on one kind of model; on the others a sparsity, a size and a pattern.
CASES = [(name, kind) for kind in MODELS for name in (GOALS if kind == "held" else ("lamp", "share", "pattern"))]


def begin(weights: str, goal: Goal = GOALS["default"], data: str | None = None, file: str = "recipe.yaml") -> Starter:
    return start(weights, data, goal, file, Silent())


def pruned_by(starter: Starter) -> Prune:
    modifier = starter.recipe.modifiers[0]
    assert isinstance(modifier, Prune)
    return modifier


def planned_sizes(text: str, folder: Path) -> dict[str, int]:
    """What `plan` says of a recipe: bytes by layout, in the recipe's dtype."""
    file = folder / "planned.yaml"
    file.write_text(text, encoding="utf-8")
    found = plan(load_recipe(file), Options(folder / "run", "cpu"), Silent(), timed=False)
    return {size.layout: size.size_bytes for size in found.sizes if size.dtype == found.dtype}


@pytest.fixture(autouse=True)
def no_gflops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting GFLOPs takes longer than all the rest."""
    monkeypatch.setattr(describe, "count_gflops", lambda _: 0.0)


@pytest.fixture(scope="module")
def starter_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Starter]:
    """The starter of each kind of model and each goal, by their names; begun once for all tests."""
    folder = tmp_path_factory.mktemp("weights")
    weights = {kind: saved(make(), folder, f"{kind}.safetensors") for kind, make in MODELS.items()}
    return functools.cache(lambda kind, goal: begin(weights[kind], GOALS[goal]))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_plan_confirms_what_is_promised(
    starter_for: Callable[[str, str], Starter], tmp_path: Path, name: str, kind: str
) -> None:
    starter, goal = starter_for(kind, name), GOALS[name]
    sizes = planned_sizes(starter.text, tmp_path)
    assert sizes["bitmask"] == starter.size_bytes
    assert abs(sizes["dense"] - starter.dense_bytes) <= 8
    assert f"{starter.size_bytes:,} bytes" in starter.text
    if goal.size_bytes is not None:
        assert starter.size_bytes <= goal.size_bytes
    if goal.share is not None:
        assert starter.size_bytes <= goal.share * sizes["dense"]


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if GOALS[case[0]].is_a_size])
def test_one_step_less_would_be_too_large(
    starter_for: Callable[[str, str], Starter], tmp_path: Path, name: str, kind: str
) -> None:
    starter = starter_for(kind, name)
    sparsity = pruned_by(starter).sparsity
    assert isinstance(sparsity, float)
    less = starter.text.replace(f" sparsity: {sparsity:g} ", f" sparsity: {sparsity - 0.001:.3f} ")
    assert less != starter.text
    sizes = planned_sizes(less, tmp_path)
    limit = GOALS[name].size_bytes or int((GOALS[name].share or 0) * sizes["dense"])
    assert sizes["bitmask"] > limit >= starter.size_bytes


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["lamp", "pattern"])
def test_the_file_has_as_many_bytes_as_promised(
    starter_for: Callable[[str, str], Starter], tmp_path: Path, name: str, kind: str
) -> None:
    weights = starter_for(kind, name).recipe.model.weights
    assert weights is not None
    starter = begin(weights, GOALS[name], tiny_data(tmp_path / "data").as_posix())
    file = tmp_path / "recipe.yaml"
    file.write_text(starter.text, encoding="utf-8")
    small = (parse_set("modifiers.1.crop=128"),)  # as many digits as 512: the recipe's text is a part of the file
    pipeline.run(load_recipe(file, small), Options(tmp_path / "run", "cpu", evaluate=False), Silent())
    found = (tmp_path / "run" / "model.safetensors").stat().st_size
    slack = 16 if kind == "not held" else 0  # a weight too small for float16 may be solved to a larger one
    assert abs(found - starter.size_bytes) <= slack


def test_defaults_are_those_that_measured_best(tmp_path: Path) -> None:
    recipe = begin(saved(tiny_model(), tmp_path)).recipe
    prune, repair = recipe.modifiers
    assert prune == Prune(type="prune", score="raw_magnitude", allocation="lamp", sparsity=SPARSITY)
    assert repair == Repair(
        type="repair", method="least_squares", calibration=Calibration(images=IMAGES), crops=1, crop=512
    )
    assert (recipe.model.fuse, ALLOCATION, SPARSITY) == ("before", "lamp", 0.3)
    assert recipe.evaluation == Evaluation()
    assert recipe.artifact == Artifact()


@pytest.mark.parametrize(("sparsity", "method"), [(0.3, "least_squares"), (0.7, "obs")])
def test_zeros_are_chosen_anew_where_there_are_many(tmp_path: Path, sparsity: float, method: str) -> None:
    repair = begin(saved(tiny_model(), tmp_path), Goal(sparsity=sparsity)).recipe.modifiers[1]
    assert isinstance(repair, Repair) and repair.method == method


def test_weights_that_came_folded_are_scored_as_they_are(tmp_path: Path) -> None:
    assert pruned_by(begin(saved(tiny_model(fused=True), tmp_path))).score == "magnitude"


def test_every_key_is_written_below_its_meaning(tmp_path: Path) -> None:
    text = begin(saved(tiny_model(), tmp_path), data="mine.yaml").text
    comments = " ".join(line.strip("# ") for line in text.splitlines() if line.lstrip().startswith("#"))
    silent = {"seed", "calibration", "table", "steps", "batch_size", "learning_rate"}  # mean nothing here
    for part in (Recipe, Model, Prune, Repair, Calibration, Evaluation, Artifact):
        for key, field in part.model_fields.items():
            if key in silent or (part is Calibration and key == "data"):
                continue
            assert re.search(rf"^ *(- )?{key}:", text, re.MULTILINE), key
            assert (field.description or "") in comments
    assert "  allocation: lamp  # uniform, global, lamp, erk or sensitivity\n" in text
    assert "  image_size: 640  # 32 to 8192\n" in text
    assert "  baseline: true  # true or false\n" in text


def test_says_how_data_can_be_named_where_there_is_none(tmp_path: Path) -> None:
    starter = begin(saved(tiny_model(), tmp_path), file="my recipe.yaml")
    assert "\n# data: YOUR_DATA.yaml\n" in starter.text
    assert "compressor apply 'my recipe.yaml' --data YOUR_DATA.yaml\n" in starter.text
    with_data = begin(saved(tiny_model(), tmp_path), data="tiny.yaml", file="my recipe.yaml")
    assert "\ndata: tiny.yaml\n" in with_data.text
    assert "compressor apply 'my recipe.yaml'\n" in with_data.text


def test_names_of_any_letters_stay_inside_comments_and_quotes(tmp_path: Path) -> None:
    folder = tmp_path / 'a "b" ${c} #d: 🚢\n- e'
    folder.mkdir()
    weights = saved(nasty_model(), folder, "ti'ny\x1b.safetensors")
    starter = begin(weights, data="\x85 $${x}\u2028\\", file="out\n\x07.yaml")
    assert starter.recipe.model.weights == weights
    assert starter.recipe.data == "\x85 $${x}\u2028\\"
    assert starter.text.replace("\n", "").isprintable()
    head = starter.text[: starter.text.index("\n\n")]
    assert all(line.startswith("#") for line in head.splitlines())
    assert r'3 classes: it\'s "#1": ${x}, new\nline\u2028\x85\x1b[31m,' in head.replace("it's", r"it\'s")
    (tmp_path / "recipe.yaml").write_text(starter.text, encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml").recipe == starter.recipe


def test_long_class_lists_are_shortened(tmp_path: Path) -> None:
    names = (*(f"class number {index}" for index in range(199)), "x" * 1_000)
    text = begin(saved(thin_model(0.0625, names), tmp_path)).text
    assert "200 classes: class number 0, class number 1, " in text
    assert "class number 30" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_layers_too_narrow_for_a_pattern_are_ignored_and_the_reason_is_told(tmp_path: Path) -> None:
    weights = saved(tiny_model(), tmp_path)
    starter = begin(weights, Goal(pattern="2:4"))
    modifier, repair = pruned_by(starter), starter.recipe.modifiers[1]
    assert isinstance(repair, Repair) and repair.method == "obs"
    assert (modifier.pattern, modifier.ignore) == ("2:4", ("stem",))
    assert (modifier.sparsity, modifier.allocation) == (None, None)
    assert "# here what cannot hold 2:4: layers of at most 3 input channels\n    ignore: [stem]\n" in starter.text
    wide = pruned_by(begin(weights, Goal(pattern="2:16")))
    narrow = {layer.name for layer in convolutions(tiny_model()) if layer.weight.shape[1] < 16}
    assert {"stem", *narrow} - {"model.0.conv"} == set(wide.ignore)


@pytest.mark.parametrize(("size", "image_size"), [("n", 640), ("n6", 1280)])
def test_image_size_is_what_the_network_was_made_for(tmp_path: Path, size: str, image_size: int) -> None:
    starter = begin(saved(thin_model(0.0625, size=size), tmp_path))
    assert starter.recipe.evaluation.image_size == image_size
    assert ", 1 class: thing\n" in starter.text


def test_models_stay_as_they_are() -> None:
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    candidates = _Candidates("tiny.pt", None, "tiny.pt", Goal(share=0.5), model)
    finished = copy.deepcopy(candidates.finished.state_dict())
    candidates.size(candidates.recipe(0.5))
    for state, expected in ((model.state_dict(), before), (candidates.finished.state_dict(), finished)):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


def test_size_out_of_reach_names_the_range(tmp_path: Path) -> None:
    weights = saved(tiny_model(), tmp_path)
    goals = [Goal(size_bytes=1000), Goal(share=0.01), Goal(size_bytes=10**9), Goal(share=1.5)]
    assert len({reach(weights, goal) for goal in goals}) == 1


def test_ends_of_the_range_can_be_reached_and_nothing_beyond(tmp_path: Path) -> None:
    weights = saved(tiny_model(), tmp_path)
    smallest, largest = reach(weights, Goal(size_bytes=1))
    for size_bytes, sparsity in ((smallest, 0.99), (largest, 0.05)):
        starter = begin(weights, Goal(size_bytes=size_bytes))
        assert starter.size_bytes <= size_bytes
        assert pruned_by(starter).sparsity == pytest.approx(sparsity, abs=0.1)
    for size_bytes in (smallest - 1000, largest + 1000):
        assert reach(weights, Goal(size_bytes=size_bytes)) == (smallest, largest)


def reach(weights: str, goal: Goal) -> tuple[int, int]:
    """What the refusal of a goal says can be reached, in bytes."""
    with pytest.raises(InputError) as caught:
        begin(weights, goal)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.path) == ("U905", "--size")
    found = re.search(r"gives ([0-9.]+) to ([0-9.]+) MB$", fault.message)
    assert found
    smallest, largest = (round(1e6 * float(end)) for end in found.groups())
    return smallest, largest


@pytest.mark.parametrize("goal", [Goal(), Goal(sparsity=0.5), Goal(share=0.75), Goal(pattern="3:4")])
def test_model_that_is_as_sparse_already(tmp_path: Path, goal: Goal) -> None:
    with pytest.raises(InputError) as caught:
        begin(saved(sparse_model(), tmp_path), goal)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.path) == ("U905", goal.option)


def test_model_that_is_sparse_already_can_become_sparser(tmp_path: Path) -> None:
    more = begin(saved(sparse_model(), tmp_path), Goal(sparsity=0.8, allocation="uniform"))
    assert more.size_bytes == planned_sizes(more.text, tmp_path)["bitmask"]


def test_pattern_that_no_layer_can_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--pattern: U905 no layer can hold 1:99"):
        begin(saved(thin_model(0.03), tmp_path), Goal(pattern="1:99"))


@pytest.mark.parametrize(
    ("goal", "start_of_message"),
    [
        (Goal(sparsity=1.5), "--sparsity: R103"),
        (Goal(sparsity=0.0), "--sparsity: R103"),
        (Goal(sparsity=float("nan")), "--sparsity: R10"),
        (Goal(pattern="4:2"), "--pattern: R105"),
        (Goal(allocation="lmap"), "--allocation: R105"),
    ],
)
def test_values_out_of_range_are_told_by_their_option(tmp_path: Path, goal: Goal, start_of_message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        begin(saved(tiny_model(), tmp_path), goal)
    assert str(caught.value).startswith(start_of_message)


def test_sparsity_that_takes_no_weight_is_told_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--sparsity: P204"):
        begin(saved(tiny_model(), tmp_path), Goal(sparsity=1e-9))


def test_empty_or_undecodable_names_are_refused(tmp_path: Path) -> None:
    weights = saved(tiny_model(), tmp_path)
    with pytest.raises(RecipeError, match=r"^--data: R1"):
        begin(weights, data="")
    with pytest.raises(RecipeError, match=r"^--data: R107"):
        begin(weights, data="\udcff.yaml")
    with pytest.raises(RecipeError, match=r"^WEIGHTS: R107"):
        begin("\udcff.pt")
    with pytest.raises(CheckpointError, match="W301"):
        begin(str(tmp_path / "nowhere.pt"))


@pytest.mark.parametrize(
    "name", ["animals_nc3.pt", "helmet_vest_nc2.pt", "yolov5n_coco.pt", "yolov5n_coco.safetensors"]
)
def test_real_checkpoints(shared: Path, tmp_path: Path, name: str) -> None:
    starter = begin(str(shared / "data" / "weights" / name), Goal(size_bytes=2_500_000))
    sizes = planned_sizes(starter.text, tmp_path)
    assert sizes["bitmask"] == starter.size_bytes
    assert 2_480_000 < starter.size_bytes <= 2_500_000
    assert starter.text.startswith("# YOLOv5n, generation v6, ")
    assert json.dumps(starter.recipe.model_dump(mode="json"))
