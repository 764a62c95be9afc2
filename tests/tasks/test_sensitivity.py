"""What pruning each layer alone costs, on a tiny model."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compressor.artifact.load import load_model
from compressor.artifact.save import Form, Provenance, encode_model
from compressor.data.calibration import draw, find_calibration_images, load_images
from compressor.errors import DatasetError, InputError, PlanError, RecipeError
from compressor.evaluation.evaluate import Evaluator
from compressor.models.detector import Detector
from compressor.models.yolov5.difference import head_loss
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.progress import Progress, Silent, Update
from compressor.recipe.modifiers import Prune, Repair
from compressor.results.sensitivity import SensitivityTable
from compressor.run.folder import sha256
from compressor.tasks.sensitivity import Question, Subject, WantedRecipe, measure, open_subject, recipe_for
from tests.modifiers.networks import live_model
from trials.tiny import tiny_data, tiny_model, tiny_weights

GRID = (0.5, 0.9)


@pytest.fixture
def question(tmp_path: Path) -> Question:
    weights, data = tiny_weights(tmp_path), tiny_data(tmp_path)
    return Question(str(weights), str(data), "output", 3, 64, "train", GRID)


def opened(question: Question) -> Subject:
    return open_subject(question, "cpu", Silent())


def measured(question: Question, notebook: Path, progress: Progress | None = None) -> SensitivityTable:
    return measure(opened(question), notebook, progress or Silent())


class Interrupted(Silent):
    """Ctrl-C once so many layers are done."""

    def __init__(self, after: int) -> None:
        self.after = after

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Update]:
        def update(done: int, _total: int | None) -> None:
            if title == "measure" and done == self.after:
                raise KeyboardInterrupt

        yield update


@pytest.mark.parametrize("score", ["magnitude", "raw_magnitude"])
def test_losses_are_those_of_whole_networks_with_one_layer_pruned(
    question: Question, tmp_path: Path, score: Any
) -> None:
    question = replace(question, score=score)
    table = measured(question, tmp_path / "notes")
    source = load_model(Path(question.weights)).model
    dense = fuse(copy.deepcopy(source))
    images = load_images(draw(find_calibration_images(question.data, "train"), 3, 0), 64)
    assert [layer.name for layer in table.layers] == [layer.name for layer in convolutions(dense)]
    for i in (0, 3, 7, 20, 33, 45, 57, 58, 59):
        for sparsity, loss in table.layers[i].points:
            model = copy.deepcopy(dense)
            step = Prune(type="prune", score=score, allocation="uniform", sparsity=sparsity)
            prune(convolutions(model, source)[i : i + 1], step)
            assert loss == pytest.approx(change(model, dense, images), rel=1e-3, abs=1e-10)


def doubles(model: Detector, image: torch.Tensor) -> list[torch.Tensor]:
    return [level.double() for level in model(image[None])]


def change(model: Detector, dense: Detector, images: torch.Tensor) -> float:
    with torch.no_grad():
        losses = [float(head_loss(doubles(model, image), doubles(dense, image))) for image in images]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_layer_that_is_solved_again_costs_less(tmp_path: Path, how: Any) -> None:
    weights = tmp_path / "live.safetensors"
    weights.write_bytes(encode_model(live_model(), Form("float32", "dense"), Provenance({}, "live", "0" * 64)))
    question = Question(str(weights), str(tiny_data(tmp_path)), "output", 5, 64, "train", (0.3, 0.6), fuse=how)
    plain, solved = (
        measured(replace(question, repaired=repaired), tmp_path / f"notes{repaired}") for repaired in (False, True)
    )
    assert (plain.repaired, solved.repaired) == (False, True)
    before, after = ([loss for layer in table.layers for _, loss in layer.points] for table in (plain, solved))
    assert sum(after) < 0.7 * sum(before)
    assert sum(b <= a for a, b in zip(before, after, strict=True)) > 0.8 * len(before)


def test_table_says_what_was_measured(question: Question, tmp_path: Path) -> None:
    table = measured(replace(question, images=100, split="val", fuse="never"), tmp_path / "notes")
    assert (table.weights, table.weights_sha256) == (question.weights, sha256(Path(question.weights)))
    assert (table.data, table.images) == (question.data, 6)  # there are no more
    assert (table.fuse, table.score, table.by) == ("never", "magnitude", "output")
    assert len(table.layers) == 60
    assert all(tuple(sparsity for sparsity, _ in layer.points) == GRID for layer in table.layers)
    assert sum(layer.weights for layer in table.layers) == sum(c.weight.numel() for c in convolutions(tiny_model()))


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("how", ["before", "after"])
def test_the_model_is_left_as_it_was(question: Question, tmp_path: Path, how: Any, repaired: bool) -> None:
    subject = opened(replace(question, fuse=how, repaired=repaired))
    assert subject.model.fused == (how == "before")
    before = copy.deepcopy(subject.model.state_dict())
    measure(subject, tmp_path / "notes", Silent())
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())


def test_interrupted_it_goes_on_and_finds_the_same(
    question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, notes = measured(question, tmp_path / "whole"), tmp_path / "notes"
    with pytest.raises(KeyboardInterrupt):
        measured(question, notes, Interrupted(after=41))
    assert len(notes.read_text().splitlines()) == 1 + 41
    pruned: list[str] = []

    def counted(layers: Any, *arguments: Any) -> Any:
        pruned.extend(layer.name for layer in layers)
        return prune(layers, *arguments)

    monkeypatch.setattr("compressor.tasks.sensitivity.prune", counted)
    assert measured(question, notes) == whole
    assert pruned == [layer.name for layer in whole.layers[41:] for _ in GRID]


@pytest.mark.parametrize(
    "other",
    [
        {"sparsities": (0.5,)},
        {"score": "folded_magnitude"},
        {"fuse": "after"},
        {"images": 2},
        {"image_size": 96},
        {"split": "val"},
    ],
)
def test_another_question_starts_anew(question: Question, tmp_path: Path, other: dict[str, Any]) -> None:
    notes = tmp_path / "notes"
    with pytest.raises(KeyboardInterrupt):
        measured(question, notes, Interrupted(after=2))
    with pytest.raises(KeyboardInterrupt):
        measured(replace(question, **other), notes, Interrupted(after=1))
    key, *layers = map(json.loads, notes.read_text().splitlines())
    assert len(layers) == 1
    assert all(key[name] == (list(value) if isinstance(value, tuple) else value) for name, value in other.items())


@pytest.mark.parametrize("file", ["tiny.safetensors", "train/000.png"])
def test_another_file_of_the_same_name_starts_anew(question: Question, tmp_path: Path, file: str) -> None:
    question = replace(question, images=6)
    with pytest.raises(KeyboardInterrupt):
        measured(question, tmp_path / "notes", Interrupted(after=2))
    if file == "tiny.safetensors":
        tiny_weights(tmp_path, seed=1)
    else:
        (tmp_path / file).write_bytes((tmp_path / "images" / "000.png").read_bytes())
    with pytest.raises(KeyboardInterrupt):
        measured(question, tmp_path / "notes", Interrupted(after=1))
    assert len((tmp_path / "notes").read_text().splitlines()) == 1 + 1


def test_images_may_lie_in_a_folder(question: Question, tmp_path: Path) -> None:
    folder = replace(question, data=str(tmp_path / "train"))
    assert measured(folder, tmp_path / "a").layers == measured(question, tmp_path / "b").layers
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match="D404"):
        measured(replace(question, data=str(tmp_path / "none")), tmp_path / "c")


def test_by_ap_the_loss_is_the_difference(question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AP is made up: the share of weights that are not zero; so the losses are known, and all images are counted."""
    weights = sum(c.weight.numel() for c in convolutions(tiny_model()))
    seen: set[tuple[str, ...]] = set()

    def evaluate(evaluator: Evaluator, model: Detector, _progress: Progress, _title: str) -> Any:
        seen.add(tuple(sample.image.name for sample in evaluator.split.samples))
        found = sum(int((layer.weight != 0).sum()) for layer in convolutions(model)) / weights
        return SimpleNamespace(metrics=SimpleNamespace(coco=SimpleNamespace(AP=found))), None

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    table = measured(replace(question, by="ap", images=4, split="val"), tmp_path / "notes")
    assert (table.by, table.images) == ("ap", 4)
    assert seen == {("000.png", "001.png", "002.png", "003.png")}
    for layer in table.layers:
        for sparsity, loss in layer.points:
            assert loss == pytest.approx(round(sparsity * layer.weights) / weights)


def test_by_ap_with_the_real_evaluator(question: Question, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        measured(replace(question, by="ap", split="val"), tmp_path / "notes", Interrupted(after=1))
    _, line = (tmp_path / "notes").read_text().splitlines()
    assert all(-1 < loss < 1 for _, loss in json.loads(line)["points"])


def test_by_ap_a_network_that_finds_nothing_is_refused(
    question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SimpleNamespace(metrics=SimpleNamespace(coco=SimpleNamespace(AP=0.0))), None
    monkeypatch.setattr(Evaluator, "evaluate", lambda *_: nothing)
    with pytest.raises(InputError, match="U911 AP of the dense network is 0: it finds nothing"):
        measured(replace(question, by="ap", split="val"), tmp_path / "notes")


def test_by_ap_without_objects_is_refused(question: Question, tmp_path: Path) -> None:
    for file in (tmp_path / "labels").glob("*.txt"):
        file.write_text("")
    with pytest.raises(InputError, match="U911 AP is undefined"):
        measured(replace(question, by="ap", split="val"), tmp_path / "notes")


def test_raw_weights_that_are_not_known_are_refused(question: Question) -> None:
    data = encode_model(tiny_model(fused=True), Form("float32", "dense"), Provenance({}, "tiny", "0" * 64))
    Path(question.weights).write_bytes(data)
    with pytest.raises(PlanError, match="--score: P209"):
        opened(replace(question, score="raw_magnitude"))
    assert opened(replace(question, score="folded_magnitude")).model.fused


def test_recipe_uses_the_table_and_repairs(question: Question, tmp_path: Path) -> None:
    question = replace(question, repaired=True)
    subject = opened(replace(question, score="raw_magnitude", fuse="after", split="test"))
    recipe = recipe_for(subject, "t.json", WantedRecipe(0.4, repairs=True))
    assert (recipe.model.weights, recipe.model.fuse, recipe.data) == (question.weights, "after", question.data)
    step, repair = recipe.modifiers
    assert isinstance(step, Prune)
    assert (step.allocation, step.table, step.sparsity, step.score) == ("sensitivity", "t.json", 0.4, "raw_magnitude")
    assert isinstance(repair, Repair)
    assert (repair.method, repair.calibration.split, repair.calibration.data) == ("least_squares", "test", None)
    by_ap = recipe_for(opened(replace(question, by="ap", split="val")), "t.json", WantedRecipe(0.4, repairs=True))
    assert isinstance(by_ap.modifiers[1], Repair)
    assert by_ap.modifiers[1].calibration.split == "train"  # not what was judged on
    folder = recipe_for(opened(replace(question, data=str(tmp_path))), "t.json", WantedRecipe(0.4, repairs=True))
    assert folder.data is None
    assert isinstance(folder.modifiers[1], Repair)
    assert folder.modifiers[1].calibration.data == str(tmp_path)


def test_recipe_without_a_repair(question: Question) -> None:
    recipe = recipe_for(opened(question), "t.json", WantedRecipe(0.4, repairs=False))
    assert [step.type for step in recipe.modifiers] == ["prune"]
    assert "repaired" not in recipe.description


@pytest.mark.parametrize(
    ("sparsity", "error", "message"),
    [(1.5, RecipeError, "--sparsity: R103"), (1e-9, PlanError, "--sparsity: P204")],
)
def test_recipe_of_a_sparsity_that_cannot_be(
    question: Question, sparsity: float, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        recipe_for(opened(question), "t.json", WantedRecipe(sparsity, repairs=True))
