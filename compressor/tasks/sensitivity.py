"""What pruning one layer alone would cost, for every layer in turn; what is measured is kept on the way."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, assert_never

import torch

from compressor.artifact.load import fetch_and_load
from compressor.artifact.save import canonical_json
from compressor.data.batches import fit_image_size
from compressor.data.calibration import draw, find_calibration_images, load_images
from compressor.data.dataset import load_dataset, read_split
from compressor.errors import Diagnostic, InputError, PlanError
from compressor.evaluation.class_names import check_classes
from compressor.evaluation.evaluate import Evaluator, make_evaluator
from compressor.evaluation.output_change import OutputChange
from compressor.evaluation.predict import select_device
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.modifiers.prune.zeros import prune
from compressor.modifiers.repair.one_layer import Alone, put_back
from compressor.modifiers.steps import resolve
from compressor.plan.layers import Layer, convolutions
from compressor.plan.outline import Outline, raw_weights_unknown
from compressor.progress import Progress, Silent, warn_of
from compressor.recipe.load import check_part
from compressor.recipe.modifiers import Prune
from compressor.recipe.nodes import Place
from compressor.recipe.schema import Evaluation, Model, Recipe
from compressor.results.sensitivity import LayerLosses, SensitivityTable
from compressor.run.environment import surroundings
from compressor.run.folder import sha256
from compressor.tasks.init import repair_step
from compressor.tasks.sensitivity_files import SensitivityFiles
from compressor.tasks.sensitivity_log import Notebook

By = Literal["output", "ap"]
SplitName = Literal["train", "val", "test"]
Score = Literal["magnitude", "raw_magnitude", "folded_magnitude"]
Fuse = Literal["before", "after", "never"]

_SEED = 0  # decides which images are drawn


@dataclass(frozen=True)
class Question:
    """What is to be measured.

    Attributes:
        weights: a path, a URL or a name, as in a recipe.
        data: a data set; by outputs also a folder of images.
        by: what a loss is, see `SensitivityTable`.
        images: how many; all where there are fewer.
        image_size: in pixels, of the square that an image is fitted into, or by AP of its longer side.
        split: of the data set.
        sparsities: ascending, each in (0, 1).
        score: by which weights are chosen, as in a recipe.
        fuse: whether BatchNorm is folded before, as in a recipe.
        repaired: solve a layer's other weights again first, as a repair by least squares does; by outputs only.
        other_names: accept data that names classes otherwise than the model; no loss depends on it.
    """

    weights: str
    data: str
    by: By
    images: int
    image_size: int
    split: SplitName
    sparsities: tuple[float, ...]
    score: Score = "magnitude"
    fuse: Fuse = "before"
    repaired: bool = False
    other_names: bool = False


@dataclass(frozen=True)
class WantedRecipe:
    """The recipe that is to use the losses.

    Attributes:
        sparsity: fraction of all weights to set to zero.
        repairs: whether a repair follows.
    """

    sparsity: float
    repairs: bool


@dataclass(frozen=True, eq=False)
class Subject:
    """The network that a question is about.

    Attributes:
        question: what is asked.
        sha256: digest of the weights file.
        model: as a recipe's modifiers would find it.
        layers: every convolution; they share their weights with the model.
        device: where the model is.
    """

    question: Question
    sha256: str
    model: Detector
    layers: tuple[Layer, ...]
    device: torch.device


class Meter(Protocol):
    """Measures a model against itself as it was at first.

    Attributes:
        images: on how many images.
        digest: of all that these images decide.
    """

    images: int
    digest: str

    def loss(self, first: int) -> float:
        """What the model has lost; it is as it was at first but for layer `first` of its architecture."""


def open_subject(question: Question, device: str, progress: Progress) -> Subject:
    """Load the weights that a question names.

    Raises:
        InputError: U903 the device cannot be used.
        CheckpointError, DownloadError: see `fetch_and_load`.
        PlanError: P209 the score asks for raw weights, and they are not known.
    """
    chosen = select_device(device)
    with progress.step(f"load {question.weights}"):
        path, source = fetch_and_load(question.weights, progress)
        model = copy.deepcopy(source.model)
        if question.fuse == "before":
            family_of(model).fold(model)
        model.to(chosen)
    warn_of(progress, source.warnings, "")
    layers = convolutions(model, source.model)
    if question.score == "raw_magnitude":
        help_text = "give --score magnitude, or name the checkpoint before it was fused"
        lost = [layer.name for layer in layers if layer.batchnorm == "lost"]
        if lost:
            raise PlanError(raw_weights_unknown(lost[0], Place("--score"), help_text))
    return Subject(question, sha256(path), model, layers, chosen)


def measure(subject: Subject, notebook: Path, progress: Progress) -> SensitivityTable:
    """Prune every layer alone at every sparsity, and measure what it costs; the model is left as it was.

    Args:
        subject: the network and the question.
        notebook: a file that keeps every layer measured; what it holds of the same question is not measured again.
        progress: told of every layer.

    Raises:
        DatasetError: the images cannot be had.
        InputError: U911 there is nothing to measure a loss by.
        OutputError: O602 the notebook cannot be written; O603 something else is there.
        RunError: E811 the outputs are not finite; E812 the device has too little memory.
    """
    question = subject.question
    meter, alone = _meter(subject, progress)
    notes = Notebook(notebook, _key(subject, meter), progress)
    with progress.bar("measure", "layers") as update:
        for done, layer in enumerate(subject.layers, start=1):
            if layer.name not in notes.known:
                notes.add(_losses(layer, subject, meter, alone))
            update(done, len(subject.layers))
    return SensitivityTable(
        weights=question.weights,
        weights_sha256=subject.sha256,
        fuse=question.fuse,
        score=question.score,
        by=question.by,
        repaired=question.repaired,
        data=question.data,
        images=meter.images,
        image_size=question.image_size,
        split=question.split,
        layers=tuple(notes.known[layer.name] for layer in subject.layers),
    )


def measure_into(
    question: Question, files: SensitivityFiles, wanted: WantedRecipe, device: str, progress: Progress
) -> tuple[SensitivityTable, Recipe | None]:
    """Measure, and write table, plot and, where one is asked for, the recipe.

    Args:
        question: what is measured.
        files: where all is written; layers that the notebook there holds are not measured again.
        wanted: the recipe.
        device: where to run.
        progress: receives every step.

    Returns:
        The losses, and the recipe; None where none is asked for.

    Raises:
        OutputError: O601, O602, O603, O604 of the files; see also `open_subject`, `recipe_for` and `measure`.
    """
    with files.claimed():
        subject = open_subject(question, device, progress)
        recipe = recipe_for(subject, files.table_from_recipe, wanted) if files.recipe else None
        table = measure(subject, files.notebook, progress)
        files.write(table, recipe, progress)
    return table, recipe


def _losses(layer: Layer, subject: Subject, meter: Meter, alone: Alone | None) -> LayerLosses:
    """What pruning the layer alone costs at each sparsity; it is put back as it was."""
    question, points = subject.question, []
    meeting = alone.look(layer) if alone else None
    for sparsity in question.sparsities:
        with put_back(subject.model, layer):
            prune((layer,), Prune(type="prune", score=question.score, allocation="uniform", sparsity=sparsity))
            if alone and meeting:
                alone.solve(meeting)
            points.append((sparsity, meter.loss(int(layer.name.split(".")[1]))))
    return LayerLosses(layer.name, layer.role, layer.convolution.weights, tuple(points))


def _meter(subject: Subject, progress: Progress) -> tuple[Meter, Alone | None]:
    question, model = subject.question, subject.model
    match question.by:
        case "output":
            files = draw(find_calibration_images(question.data, question.split, progress.warn), question.images, _SEED)
            with progress.step(f"read {len(files)} images"):
                images = load_images(files, fit_image_size(question.image_size, max(model.strides)))
                meter = OutputChange(model, images, subject.device)
                return meter, Alone(model, images.to(subject.device)) if question.repaired else None
        case "ap":
            return _ApLost(model, _evaluator(question, model, subject.device, progress), progress), None
        case _:
            assert_never(question.by)


class _ApLost:
    """The AP lost.

    Raises:
        InputError: U911 AP is undefined on these images, or 0.
        RunError: see `Evaluator.evaluate`.
    """

    def __init__(self, model: Detector, evaluator: Evaluator, progress: Progress) -> None:
        self.model = model
        self.evaluator = evaluator
        self.images = len(evaluator.split.samples)
        self.digest = hashlib.sha256(canonical_json(evaluator.facts).encode()).hexdigest()
        self.dense = self._ap(progress)
        if self.dense <= 0:
            message = "AP of the dense network is 0: it finds nothing on these images, so no layer can lose any"
            raise InputError(Diagnostic("U911", message, help="name the data that the network was trained on"))

    def loss(self, first: int) -> float:
        """See `Meter`."""
        return self.dense - self._ap(Silent())

    def _ap(self, progress: Progress) -> float:
        evaluation, _ = self.evaluator.evaluate(self.model, progress, "evaluate dense")
        found = evaluation.metrics.coco.AP
        if found is None:
            message = "AP is undefined on these images: they hold no objects"
            raise InputError(Diagnostic("U911", message, help="name labelled images"))
        return found


def _evaluator(question: Question, model: Detector, device: torch.device, progress: Progress) -> Evaluator:
    """A judge of the first images of the split."""
    with progress.step(f"open {question.data}"):
        dataset = load_dataset(question.data)
    told = check_classes(model.names, dataset, other_names=question.other_names)
    with progress.bar(f"read {question.data}", "images") as update:
        split = read_split(dataset, question.split, update)
    for sentence in (*told, *split.choice):
        progress.warn(sentence)
    evaluator = make_evaluator(split, Evaluation(split=question.split, image_size=question.image_size), device)
    warn_of(progress, evaluator.warnings, "`compressor evaluate` tells them all")
    return evaluator.part(question.images)


def _key(subject: Subject, meter: Meter) -> dict[str, Any]:
    question: dict[str, Any] = json.loads(json.dumps(asdict(subject.question)))  # lists for tuples, as read back
    del question["other_names"]
    facts = {"weights_sha256": subject.sha256, "images_sha256": meter.digest}
    return {**question, **facts, **json.loads(json.dumps(surroundings(subject.device)))}


class _Options:
    """Names the option that a value of the recipe comes from."""

    def place(self, *location: str | int) -> Place:
        """`--sparsity` for modifiers[0].sparsity."""
        return Place(f"--{location[2]}")

    key_place = place


def recipe_for(subject: Subject, table: str, wanted: WantedRecipe) -> Recipe:
    """A recipe that shares out a sparsity by the losses.

    Args:
        subject: what was measured.
        table: the file of the losses, as the recipe is to name it.
        wanted: how much, and whether a repair follows.

    Raises:
        RecipeError: R103 the sparsity is not in (0, 1).
        PlanError: P204 it takes no weight, or every one.
    """
    question, model = subject.question, subject.model
    pruning = {"score": question.score, "allocation": "sensitivity", "table": table, "sparsity": wanted.sparsity}
    step = check_part(Prune, {"type": "prune", **pruning})
    resolve([step], Outline(tuple(layer.convolution for layer in subject.layers)), _Options())
    calibration: dict[str, Any] = {"split": question.split} if question.by == "output" else {}
    data = {"data": question.data}
    if Path(question.data).is_dir():
        calibration, data = data, {}
    parts = {
        "version": 1,
        "description": f"{model.spec.name} loses {100 * wanted.sparsity:g} % of its convolution weights where "
        f"measured losses are smallest{', and the rest is repaired' if wanted.repairs else ''}.",
        "model": Model(weights=question.weights, fuse=question.fuse),
        "modifiers": (step, repair_step("least_squares", **calibration)) if wanted.repairs else (step,),
        "evaluation": Evaluation(image_size=1280) if max(model.strides) > 32 else Evaluation(),
        **data,
    }
    return check_part(Recipe, parts)
