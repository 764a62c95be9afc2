"""Finished work is found again only where all that it depends on is the same: every input is changed in turn."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

import compressor
from compressor.artifact.load import LoadedModel, load_model
from compressor.data.description import Description
from compressor.files.store import Steps
from compressor.plan.layers import convolutions
from compressor.progress import Progress, Silent
from compressor.recipe.load import load_recipe
from compressor.recipe.part import Part, models_in, types_of
from compressor.recipe.schema import Recipe
from compressor.results.sensitivity import LayerLosses, SensitivityTable, table_text
from compressor.run import environment, job, stages
from compressor.run.exports import Shipped
from compressor.run.inputs import Inputs, differences
from compressor.run.readiness import Options, Ready, Refusals, make_ready
from trials.tiny import NAMES, tiny_data, tiny_model, tiny_weights

BEFORE, SEARCH, MODIFIED, AFTER, EXPORT = "before", "search", "modified", "after", "export"
RECIPE = {SEARCH, MODIFIED}  # in whose keys the whole recipe is, for it travels in the file
JUDGED = {BEFORE, SEARCH, AFTER, EXPORT}  # that depend on the data and on how they are judged
BASE: dict[str, Any] = {
    "version": 1,
    "description": "Base.",
    "model": {"weights": "tiny.safetensors"},
    "data": "tiny.yaml",
    "modifiers": [
        {"type": "prune", "allocation": "uniform", "sparsity": 0.5},
        {"type": "repair", "method": "least_squares", "calibration": {"images": 3, "image_size": 64}},
    ],
    "evaluation": {"image_size": 64, "batch_size": 4, "other_names": True},
    "exports": [{"format": "dense"}],
}
WANDA = {"modifiers.0.score": "wanda", "modifiers.0.calibration": {"images": 3, "image_size": 64}}
BUDGET = {"modifiers.0.sparsity": {"ap_drop": 0.1, "images": 4}}
DISTILL = {"modifiers.1.method": "distill"}
TABLE = {"modifiers.0.allocation": "sensitivity", "modifiers.0.table": "losses.json"}
NMS = {"exports": [{"format": "onnx", "nms": {}}]}

TRAIN = [f"train/00{i}.png" for i in range(5)]
Edit = Callable[[Path], None]
Case = tuple[dict[str, Any], str, Any, set[str]]  # the recipe before, the path of the key, its new value, steps again


def case(path: str, value: Any, again: set[str] = RECIPE, before: dict[str, Any] | None = None) -> Case:
    return before or {}, path, value, again


PRUNE, REPAIR = "modifiers.0", "modifiers.1"
CASES: dict[str, Case | str] = {  # every key of the schema; text is the reason why nothing need be done again
    "version": "there is only one",
    "description": case("description", "Other."),
    "model.weights": case("model.weights", "other.safetensors", RECIPE | {BEFORE}),
    "model.fuse": case("model.fuse", "never", RECIPE | {BEFORE}),
    "data": case("data", "same.yaml", RECIPE | JUDGED),
    "modifiers.prune.type": "another type is another modifier",
    "modifiers.prune.targets": case(f"{PRUNE}.targets", ["backbone"]),
    "modifiers.prune.ignore": case(f"{PRUNE}.ignore", ["neck"]),
    "modifiers.prune.pattern": case(PRUNE, {"type": "prune", "pattern": "2:4", "ignore": ["stem", "backbone"]}),
    "modifiers.prune.score": case(f"{PRUNE}.score", "random"),
    "modifiers.prune.seed": case(f"{PRUNE}.seed", 7, before={f"{PRUNE}.score": "random"}),
    "modifiers.prune.calibration.images": case(f"{PRUNE}.calibration.images", 2, before=WANDA),
    "modifiers.prune.calibration.data": case(f"{PRUNE}.calibration.data", "train", before=WANDA),
    "modifiers.prune.calibration.split": case(
        f"{PRUNE}.calibration.split", "val", before={**WANDA, f"{PRUNE}.calibration.judged": True}
    ),
    "modifiers.prune.calibration.image_size": case(f"{PRUNE}.calibration.image_size", 32, before=WANDA),
    "modifiers.prune.calibration.seed": case(f"{PRUNE}.calibration.seed", 5, before=WANDA),
    "modifiers.prune.calibration.judged": case(f"{PRUNE}.calibration.judged", True, before=WANDA),
    "modifiers.prune.allocation": case(f"{PRUNE}.allocation", "global"),
    "modifiers.prune.table": case(f"{PRUNE}.table", "same.json", before=TABLE),
    "modifiers.prune.sparsity": case(f"{PRUNE}.sparsity", 0.6),
    "modifiers.prune.sparsity.ap_drop": case(f"{PRUNE}.sparsity.ap_drop", 0.2, before=BUDGET),
    "modifiers.prune.sparsity.size": case(f"{PRUNE}.sparsity", {"size": "150kB"}, before=BUDGET),
    "modifiers.prune.sparsity.images": case(f"{PRUNE}.sparsity.images", 3, before=BUDGET),
    "modifiers.repair.type": "another type is another modifier",
    "modifiers.repair.targets": case(f"{REPAIR}.targets", ["backbone"]),
    "modifiers.repair.ignore": case(f"{REPAIR}.ignore", ["neck"]),
    "modifiers.repair.method": case(f"{REPAIR}.method", "bias"),
    "modifiers.repair.calibration.images": case(f"{REPAIR}.calibration.images", 2),
    "modifiers.repair.calibration.data": case(f"{REPAIR}.calibration.data", "train"),
    "modifiers.repair.calibration.split": case(
        f"{REPAIR}.calibration.split", "val", before={f"{REPAIR}.calibration.judged": True}
    ),
    "modifiers.repair.calibration.image_size": case(f"{REPAIR}.calibration.image_size", 32),
    "modifiers.repair.calibration.seed": case(f"{REPAIR}.calibration.seed", 5),
    "modifiers.repair.calibration.judged": case(f"{REPAIR}.calibration.judged", True),
    "modifiers.repair.damping": case(f"{REPAIR}.damping", 0.1),
    "modifiers.repair.crops": case(f"{REPAIR}.crops", 1),
    "modifiers.repair.crop": case(f"{REPAIR}.crop", 32),
    "modifiers.repair.steps": case(f"{REPAIR}.steps", 1, before=DISTILL),
    "modifiers.repair.batch_size": case(f"{REPAIR}.batch_size", 1, before=DISTILL),
    "modifiers.repair.learning_rate": case(f"{REPAIR}.learning_rate", 0.1, before=DISTILL),
    "evaluation.baseline": case("evaluation.baseline", False, RECIPE | JUDGED),
    "evaluation.split": case("evaluation.split", "train", RECIPE | JUDGED, {"modifiers": BASE["modifiers"][:1]}),
    "evaluation.image_size": case("evaluation.image_size", 96, RECIPE | JUDGED),
    "evaluation.batch_size": case("evaluation.batch_size", 2, RECIPE | JUDGED),
    "evaluation.conf_thres": case("evaluation.conf_thres", 0.01, RECIPE | JUDGED),
    "evaluation.iou_thres": case("evaluation.iou_thres", 0.5, RECIPE | JUDGED),
    "evaluation.max_det": case("evaluation.max_det", 3, RECIPE | JUDGED),
    "evaluation.resize": case("evaluation.resize", "floor", RECIPE | JUDGED),
    "evaluation.other_names": case("evaluation.other_names", False, RECIPE | JUDGED),
    "evaluation.precision": case("evaluation.precision", "float32", RECIPE | JUDGED),
    "evaluation.coco_engine": case("evaluation.coco_engine", "pycocotools", RECIPE | JUDGED),
    "artifact.dtype": case("artifact", {"dtype": "float32"}),
    "artifact.layout": case("artifact", {"layout": "dense"}),
    "exports.format": case("exports.0.format", "yolov5", RECIPE | {EXPORT}),
    "exports.dynamic_size": case("exports.0.dynamic_size", True, RECIPE | {EXPORT}, NMS),
    "exports.image_size": case("exports.0.image_size", 96, RECIPE | {EXPORT}, NMS),
    "exports.nms.conf_thres": case("exports.0.nms.conf_thres", 0.3, RECIPE | {EXPORT}, NMS),
    "exports.nms.iou_thres": case("exports.0.nms.iou_thres", 0.3, RECIPE | {EXPORT}, NMS),
    "exports.nms.max_det": case("exports.0.nms.max_det", 3, RECIPE | {EXPORT}, NMS),
    "exports.evaluate": case("exports.0.evaluate", False, RECIPE | {EXPORT}),
    "report.template": case("report", {"template": "t.md.j2"}),
    "report.examples": case("report", {"examples": 1}),
    "report.reference": case("report", {"reference": "r.json"}),
    "report.fail_if": case("report", {"fail_if": ["AP < -1"]}),
}


def keys_of(part: type[Part], above: str = "") -> Iterator[str]:
    """Every key of the schema, those of modifiers under their type."""
    for name, field in part.model_fields.items():
        inner = models_in(field.annotation)
        if not inner or name == "sparsity":
            yield above + name
        for each in inner:
            word = f".{types_of(each)[0]}" if types_of(each) else ""
            yield from keys_of(each, f"{above}{name}{word}.")


def test_every_key_of_the_schema_is_classified() -> None:
    assert set(keys_of(Recipe)) == set(CASES)


@functools.cache
def opened(content: bytes, path: Path) -> LoadedModel:
    assert path.read_bytes() == content
    return load_model(path)


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening the same weights again takes longer than all the rest."""

    def fetch(weights: str, _: Progress) -> tuple[Path, LoadedModel]:
        return Path(weights), opened(Path(weights).read_bytes(), Path(weights))

    monkeypatch.setattr(job, "fetch_and_load", fetch)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_place(folder)
    return folder


def make_place(folder: Path) -> None:
    tiny_weights(folder, seed=1).rename(folder / "other.safetensors")
    tiny_weights(folder)
    data = tiny_data(folder)
    (folder / "same.yaml").write_text(data.read_text())
    layers = [LayerLosses(each.name, each.role, each.weight.numel(), ((0.5, 0.1),)) for each in layers_of_tiny()]
    measured = ("tiny", "0" * 64, "before", "magnitude", "output", False, "images", 4, 320, "train")
    for name in ("losses.json", "same.json"):
        (folder / name).write_text(table_text(SensitivityTable(*measured, tuple(layers))))
    (folder / "t.md.j2").write_text("{{ run.name }}")
    (folder / "r.json").write_text("{}")


@functools.cache
def layers_of_tiny() -> Any:
    return convolutions(tiny_model())


def changed(recipe: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value of a dotted path."""
    recipe = copy.deepcopy(recipe)
    *above, last = path.split(".")
    place: Any = recipe
    for word in above:
        place = place[int(word)] if isinstance(place, list) else place.setdefault(word, {})
    place[int(last) if isinstance(place, list) else last] = value
    return recipe


def ready(folder: Path, recipe: dict[str, Any]) -> Ready:
    file = folder / "r.yaml"
    file.write_text(yaml.safe_dump({**recipe, "report": {}}))
    return make_ready(load_recipe(file), Options(folder / "out", "cpu"), Silent(), Refusals(gather=False))


def keys(folder: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The keys under which a run would look for its steps."""
    monkeypatch.chdir(folder)
    made = ready(folder, recipe)
    report = Recipe.model_validate(
        {**recipe, "report": recipe.get("report", {})}
    ).report  # whose files need not be good
    asked = dataclasses.replace(
        made.job,
        recipe_file=dataclasses.replace(
            made.job.recipe_file, recipe=made.job.recipe.model_copy(update={"report": report})
        ),
    )
    evaluator, recipe_now = made.evaluator, asked.recipe
    assert evaluator is not None
    steps = Steps(folder / "steps", False, Silent(), environment.surroundings(evaluator.device))
    compared_on = [sample.image for sample in evaluator.split.samples][:2]
    loaded = LoadedModel(asked.model, asked.model, "float32", "", {})
    shipped = Shipped(loaded, "0" * 64, recipe_now.evaluation, evaluator, None, compared_on)
    return {
        BEFORE: stages.evaluation_key(steps, asked.model, evaluator),
        SEARCH: stages.search_key(steps, asked, made.images, evaluator),
        MODIFIED: stages.modified_key(steps, asked, made.images),
        AFTER: stages.evaluation_key(steps, tiny_model(), evaluator),
        EXPORT: shipped.key(recipe_now.exports[0], steps),
    }


def differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, str]]:
    """Keys of the recipes that cases begin with, worked out once."""
    return {}


@pytest.mark.parametrize("name", [name for name, each in CASES.items() if not isinstance(each, str)])
def test_a_changed_key_of_the_recipe_does_the_step_again(
    name: str, place: Path, known: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = CASES[name]
    assert not isinstance(found, str)
    before, path, value, again = found
    recipe = functools.reduce(lambda made, item: changed(made, *item), before.items(), BASE)
    text = json.dumps(recipe)
    if text not in known:
        known[text] = keys(place, recipe, monkeypatch)
    assert differing(known[text], keys(place, changed(recipe, path, value), monkeypatch)) == again


def pictures(*names: str) -> Edit:
    """Other pixels of the same size in the same place."""

    def edit(folder: Path) -> None:
        for name in names:
            image = cv2.imread(str(folder / name))
            assert image is not None
            cv2.imwrite(str(folder / name), np.roll(image, 1, axis=0))

    return edit


def other_weights(folder: Path) -> None:
    tiny_weights(folder, seed=3)


def text(name: str, old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        before = (folder / name).read_text()
        assert old in before
        (folder / name).write_text(before.replace(old, new))

    return edit


def annotated(folder: Path) -> None:
    images = [{"id": i, "file_name": f"{i:03}.png", "height": 48 + 16 * (i % 3), "width": 64} for i in range(6)]
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    objects = [{"id": 1, "image_id": 0, "category_id": 0, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 0}]
    content = {"images": images, "categories": categories, "annotations": objects}
    (folder / "a.json").write_text(json.dumps(content))
    (folder / "tiny.yaml").write_text((folder / "tiny.yaml").read_text() + "annotations: a.json\n")


def moved(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    for name in ("images", "labels", "train"):
        (folder / name).rename(folder / "elsewhere" / name)
    text("tiny.yaml", "path: .", "path: elsewhere")(folder)


NOTHING: Edit = lambda _: None  # noqa: E731
FILES: dict[str, tuple[Edit, Edit, set[str]]] = {  # what is made before, what is changed, the steps done again
    "weights": (NOTHING, other_weights, RECIPE | {BEFORE}),
    "an image": (NOTHING, pictures("images/001.png"), JUDGED),
    "a label": (NOTHING, text("labels/001.txt", "1 0.", "2 0."), JUDGED),
    "a label file that comes": (NOTHING, lambda folder: (folder / "labels" / "005.txt").unlink(), JUDGED),
    "a calibration image": (NOTHING, pictures(*TRAIN), RECIPE),
    "annotations": (annotated, text("a.json", "[1, 1, 20, 20]", "[2, 1, 20, 20]"), JUDGED),
    "the table": (
        lambda folder: None,
        text("losses.json", "0.1", "0.2"),
        RECIPE,
    ),
    "names": (NOTHING, text("tiny.yaml", "0: disc", "0: disk"), JUDGED),
    "root": (NOTHING, moved, JUDGED),
    "sources": (NOTHING, text("tiny.yaml", "val: images", "val: [images, images/]"), JUDGED),
    "that annotations are named": (NOTHING, annotated, JUDGED),
}


def test_every_part_of_a_data_yaml_is_among_the_changes() -> None:
    parts = {each.name for each in dataclasses.fields(Description)}
    assert parts == {"root", "sources", "names", "annotations"}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_does_the_step_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_place(tmp_path)
    prepare, change, again = FILES[name]
    prepare(tmp_path)
    recipe = BASE
    if name == "the table":
        recipe = functools.reduce(lambda made, item: changed(made, *item), TABLE.items(), BASE)
    before = keys(tmp_path, recipe, monkeypatch)
    assert keys(tmp_path, recipe, monkeypatch) == before
    change(tmp_path)
    assert differing(before, keys(tmp_path, recipe, monkeypatch)) == again


def with_packages(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    told = importlib.metadata.version
    monkeypatch.setattr(environment, "version", lambda package: "9" if package == name else told(package))


AROUND: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **{
        name: functools.partial(with_packages, name=name)
        for name in ("torch", "numpy", "numba", "llvmlite", "opencv-python-headless", "pycocotools", "safetensors")
    },
    "pyyaml": lambda patch: with_packages(patch, "pyyaml"),
    "version": lambda patch: patch.setattr(environment, "__version__", "9"),
    "source": lambda patch: patch.setattr(environment, "source_sha256", lambda: "9"),
    "threads": lambda patch: patch.setattr(torch, "get_num_threads", lambda: 77),
    "processor": lambda patch: patch.setattr(environment, "_processor", lambda: "other"),
    "instructions": lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "other"),
    "switch": lambda patch: patch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41"),
}


@pytest.mark.parametrize("name", AROUND)
def test_other_surroundings_do_every_step_again(
    name: str, place: Path, known: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "around" not in known:
        known["around"] = keys(place, BASE, monkeypatch)
    AROUND[name](monkeypatch)
    assert differing(known["around"], keys(place, BASE, monkeypatch)) == {BEFORE, SEARCH, MODIFIED, AFTER, EXPORT}
    one, other = (environment.surroundings(torch.device(each)) for each in ("cpu", "cpu:1"))
    assert one != other  # the device


def test_a_network_that_computes_otherwise_has_another_key(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tensors: only what modules do with them differs."""
    monkeypatch.chdir(place)
    evaluator = ready(place, BASE).evaluator
    assert evaluator is not None
    steps = Steps(place / "steps", False, Silent(), {})
    found = {stages.evaluation_key(steps, tiny_model(), evaluator)}
    for name, attribute, value in (
        ("model.0.act", "inplace", False),
        ("model.11", "mode", "bilinear"),
        ("model.9.m", "kernel_size", 7),
        ("model.2.m.0", "shortcut", False),
        ("model.3.conv", "dilation", (2, 2)),
        ("model.0.bn", "eps", 0.1),
    ):
        model = tiny_model()
        module = model.get_submodule(name)
        assert getattr(module, attribute) != value
        setattr(module, attribute, value)
        found.add(stages.evaluation_key(steps, model, evaluator))
    assert len(found) == 7


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (NOTHING, []),
        (text("tiny.yaml", "0: disc", "0: disk"), ["data"]),
        (pictures("images/001.png"), ["data"]),
        (pictures(*TRAIN), ["calibration images"]),
        (other_weights, ["weights"]),
        (text("t.md.j2", "name", "command"), ["template and reference"]),
        (text("r.yaml", "0.5", "0.6"), ["recipe"]),
    ],
)
def test_a_finished_run_of_other_input_is_told_by_the_name_of_the_input(
    change: Edit, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_place(tmp_path)
    ready(tmp_path, BASE)

    def now() -> dict[str, str]:
        recipe_file = load_recipe(tmp_path / "r.yaml")
        made = make_ready(recipe_file, Options(tmp_path / "out", "cpu"), Silent(), Refusals(gather=False))
        assert made.evaluator is not None
        return Inputs(made.device).of(recipe_file, made.evaluator.split, [tmp_path / "t.md.j2"])

    then = now()
    change(tmp_path)
    assert differences(then, now()) == told
    assert set(differences({}, then)) == set(then)  # a run of an earlier version


def test_the_whole_source_is_in_the_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = Path(compressor.__file__).parent
    assert {str(file) for file in environment.source_files().values()} == {str(each) for each in package.rglob("*.py")}
    (tmp_path / "a.py").write_text("1")
    monkeypatch.setattr(environment, "source_files", lambda: {"a.py": tmp_path / "a.py"})
    before = environment.source_sha256.__wrapped__()
    (tmp_path / "a.py").write_text("2")
    assert environment.source_sha256.__wrapped__() != before


def test_only_what_switches_arithmetic_is_in_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what compressor's own imports set, or where things lie: a second run in one process has the same key."""
    before = environment.surroundings(torch.device("cpu"))
    for name in (
        "OPENCV_LOG_LEVEL",
        "OPENCV_IO_MAX_IMAGE_PIXELS",
        "NUMBA_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "HOME",
    ):
        monkeypatch.setenv(name, "other")
    assert environment.surroundings(torch.device("cpu")) == before
    monkeypatch.setenv("OMP_WAIT_POLICY", "other")
    assert environment.surroundings(torch.device("cpu")) != before
