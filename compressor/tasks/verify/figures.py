"""Figures worked out again: from the detections that a run holds, or by evaluating its models again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import torch

from compressor.errors import CompressorError, DatasetError
from compressor.evaluation.bootstrap import resample
from compressor.evaluation.coco import Predictions, read_predictions
from compressor.evaluation.coco_figures import precision_by_recall
from compressor.evaluation.evaluate import Evaluator
from compressor.evaluation.examples import examples_png
from compressor.models.strides import image_step
from compressor.progress import Progress
from compressor.recipe.load import check_part
from compressor.recipe.schema import Evaluation as Settings
from compressor.report.pictures import EXAMPLES
from compressor.results.evaluation import METHOD, DataSummary, Evaluation, Metrics, Resampled
from compressor.results.run import RunRecord
from compressor.run.folder import PREDICTIONS_AFTER, PREDICTIONS_BEFORE
from compressor.run.pipeline import evaluate
from compressor.run.readiness import open_evaluator
from compressor.tasks.verify.claims import Check, Trusted
from compressor.tasks.verify.facts import Facts
from compressor.tasks.verify.own_metric import Bounds, as_found, bounds, wrong_own_metric
from compressor.tasks.verify.writer import other_writer

TOLERANCE = 5e-4  # two machines round otherwise, which moves a detection or two
_EXACT = 1e-9  # the same arithmetic on the same numbers
FIGURES = ("metrics", "data", "resampled", "precision_by_recall")  # of an evaluation
OPENCV, MATPLOTLIB = "opencv-python-headless", "matplotlib"  # which draw the pictures


@dataclass(frozen=True)
class Evaluating:
    """How to evaluate again.

    Attributes:
        data: the data set, None for the one that the run names.
        device: where.
    """

    data: str | None
    device: str


@dataclass(frozen=True)
class Data:
    """The data that a run was evaluated on.

    Attributes:
        evaluator: of them.
        names: class names of the model.
        stride: of the network, in pixels.
    """

    evaluator: Evaluator
    names: tuple[str, ...]
    stride: int


def data_at_hand(evaluation: Evaluation, data: str | None, facts: Facts, progress: Progress) -> Data | str:
    """The data that a run was evaluated on, or why it is not known here.

    Args:
        evaluation: of the run.
        data: where the data set is now; None for where the run found it.
        facts: of the model.
        progress: receives the step of reading it.
    """
    source = data or evaluation.data.source
    try:
        evaluator = open_evaluator(source, _settings(evaluation), facts.names, torch.device("cpu"), progress)
    except CompressorError as error:
        return f"{source} cannot be read here ({error.diagnostics[0].code})"
    if evaluator.split.sha256 != evaluation.data.sha256:
        return f"{source} holds other images or labels here than the run's"
    return Data(evaluator, facts.names, image_step(facts.model.strides))


def _settings(evaluation: Evaluation) -> Settings:
    kept = {key: value for key, value in asdict(evaluation.settings).items() if key in Settings.model_fields}
    graph = evaluation.settings.runs_on != "torch"
    if graph or evaluation.settings.precision == "float16":  # a graph's own, and that of a GPU
        kept["precision"] = "auto"
    # The run was made, so other names were accepted, or an earlier version did not compare them.
    return check_part(Settings, {**kept, "split": evaluation.data.split, "other_names": True})


@dataclass(frozen=True, eq=False)
class Figures:
    """What the detections of one model give on the data.

    Attributes:
        data: the data.
        metrics: all figures; those of YOLOv5's own metric from rounded detections.
        own: between which its APs lie.
        precision_by_recall: as an evaluation holds it.
        resampled: figures of the recorded draws.
        predictions: the detections.
    """

    data: DataSummary
    metrics: Metrics
    own: Bounds
    precision_by_recall: tuple[float, ...]
    resampled: Resampled
    predictions: Predictions


def figures_of(file: Path, data: Data) -> Figures:
    """The figures of the detections in a file.

    Raises:
        OSError, ValueError: it cannot be read, or is of other images.
    """
    predictions = read_predictions(file, data.evaluator.ground_truth)
    found = as_found(data.evaluator, predictions, data.stride)
    metrics, evaluated = data.evaluator.metrics(found, predictions, data.names)
    curve, draws = precision_by_recall(evaluated), resample(evaluated)
    return Figures(data.evaluator.summary(), metrics, bounds(found), curve, draws, predictions)


def from_predictions(folder: Path, record: RunRecord, data: Data) -> Iterator[Check | Trusted]:
    """The figures of both models, from the detections in the run folder and the data."""
    stated = (("baseline", record.baseline, PREDICTIONS_BEFORE), ("compressed", record.compressed, PREDICTIONS_AFTER))
    found: dict[str, Figures] = {}
    for key, evaluation, name in stated:
        if evaluation is None:
            continue
        claim = f"{key}: the data, the figures and the draws are those of {name}"
        try:
            found[key] = figures_of(folder / name, data)
        except (OSError, ValueError) as error:
            yield Check(claim, (f"{name} cannot be read: {str(error).splitlines()[0]}",))
            continue
        wrong = tuple(wrong_figures(evaluation, found[key], worded=other_writer(record) is None))
        if wrong and counted_otherwise(evaluation, found[key]):
            reason = (
                f"an earlier version counted the objects of these data otherwise: by this one {'; '.join(wrong[:3])}"
            )
            yield Trusted(tuple(f"{key}.{part}" for part in FIGURES), reason)
        else:
            yield Check(claim, wrong)
    if len(found) == 2 and drawn_here(record, OPENCV):
        both = found["baseline"].predictions, found["compressed"].predictions
        yield Check(f"{EXAMPLES} shows what both models find", tuple(_wrong_examples(folder, record, data, *both)))


def counted_otherwise(stated: Evaluation, found: Figures) -> bool:
    """Whether the version that made a run had other rules for some objects of its data than this one."""
    return stated.settings.method < METHOD and (bool(found.data.not_evaluated) or found.data.ground_truth != "labels")


def drawn_here(record: RunRecord, package: str) -> bool:
    """Whether this version made a run with the package that is installed here, so that its pictures come out alike."""
    return other_writer(record) is None and record.environment.packages.get(package) == version(package)


def _wrong_examples(
    folder: Path, record: RunRecord, data: Data, before: Predictions, after: Predictions
) -> Iterator[str]:
    count = record.recipe.get("report", {}).get("examples", 0)
    samples, image_ids = data.evaluator.split.samples, data.evaluator.ground_truth.image_ids
    page = examples_png(samples, image_ids, before, after, count, data.names) if count else None
    place = folder / EXAMPLES
    if (page or b"") != (place.read_bytes() if place.is_file() else b""):
        yield f"{EXAMPLES} is another picture"


def wrong_figures(stated: Evaluation, found: Figures, *, worded: bool) -> Iterator[str]:
    """What an evaluation says otherwise than its detections do; `worded` if its sentences are those of this version."""
    yield from _wrong_data(found.data, stated.data, older=stated.settings.method < METHOD)
    yield from _wrong_skipped(found.data, stated.data, older=stated.settings.method < METHOD, worded=worded)
    yield from _wrong_metrics(found.metrics, stated.metrics, exact=True)
    yield from wrong_own_metric(found.own, stated.metrics)
    if stated.precision_by_recall and stated.precision_by_recall != found.precision_by_recall:
        yield "precision_by_recall is another curve"
    if stated.resampled is not None:
        for field in fields(Resampled):
            if getattr(stated.resampled, field.name) != getattr(found.resampled, field.name):
                yield f"resampled.{field.name} is not that of these draws"


def _wrong_data(found: DataSummary, stated: DataSummary, *, older: bool) -> Iterator[str]:
    """Counts that are not those of the data; an `older` version did not write all of them."""
    for field in fields(DataSummary):
        ours, theirs = getattr(found, field.name), getattr(stated, field.name)
        unknown = older and theirs == field.default
        if field.name not in ("source", "skipped", "sha256") and ours != theirs and not unknown:
            yield f"data.{field.name} is {ours}, recorded is {theirs}"


def _wrong_skipped(found: DataSummary, stated: DataSummary, *, older: bool, worded: bool) -> Iterator[str]:
    """Sentences on images and labels that are not those of the data; of another version only their number is known."""
    here, recorded = (
        Counter(text.partition(": ")[2] if worded else "" for text in each.skipped) for each in (found, stated)
    )
    if recorded - here or (here - recorded and not older):
        yield f"data.skipped has {len(found.skipped)} sentences, recorded are {len(stated.skipped)} or others"


def _wrong_metrics(found: Metrics, stated: Metrics, *, exact: bool) -> Iterator[str]:
    """Figures over all classes, and the counts of each.

    Args:
        found: worked out here.
        stated: recorded.
        exact: COCO's figures follow from the very numbers that they came of, and YOLOv5's are not compared here: they
            came of numbers before they were rounded. Else both came of a network that ran elsewhere.
    """
    ours, theirs = ({**asdict(each.coco), **({} if exact else asdict(each.detection))} for each in (found, stated))
    for name, value in ours.items():
        if not close(value, theirs[name], _EXACT if exact else TOLERANCE):
            yield f"{name} is {value}, recorded is {theirs[name]}"
    counts = [
        {each.index: (each.name, each.images, each.instances) for each in part.classes} for part in (found, stated)
    ]
    for index, (name, images, instances) in counts[0].items():
        if counts[1].get(index) != (name, images, instances):
            yield f"{name} has {instances:,} objects in {images:,} images, recorded are others"
    if list(counts[0]) != list(counts[1]):
        yield f"figures of {len(counts[1])} classes are recorded, there are {len(counts[0])}"


def evaluated_again(file: Path, known: Evaluation, again: Evaluating, progress: Progress) -> Iterator[Check]:
    """The data and the figures of one model, by evaluating its file again."""
    data = again.data or known.data.source
    claim = f"{file.name}: evaluated again every figure over all classes is within {TOLERANCE}"
    try:
        _, found, _ = evaluate(str(file), data, _settings(known), again.device, progress, seen=True)
    except DatasetError:
        raise  # nothing can be evaluated then
    except CompressorError as error:
        yield Check(claim, tuple(each.message for each in error.diagnostics))
        return
    others = () if found.data.sha256 == known.data.sha256 else (f"{data} holds other images or labels",)
    yield Check(f"{file.name}: the data are those of the run", others)
    yield Check(claim, tuple(_wrong_metrics(found.metrics, known.metrics, exact=False)))


def close(a: float | None, b: float | None, tolerance: float) -> bool:
    """Whether two figures are as good as the same; undefined is like undefined only."""
    return a == b or (a is not None and b is not None and abs(a - b) <= tolerance)
