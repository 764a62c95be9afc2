"""What the evaluations of a run.json say against its recipe, one another and themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from compressor.data.batches import fit_image_size
from compressor.models.strides import image_step
from compressor.recipe.schema import Recipe
from compressor.results.evaluation import Evaluation
from compressor.results.run import RunRecord
from compressor.run.exports import own_settings
from compressor.tasks.verify.facts import Facts
from compressor.tasks.verify.record import differing

_ROUNDED = 1e-6  # of the precision at each recall
_EXACT = 1e-9  # sums in another order


def wrong_evaluations(record: RunRecord, recipe: Recipe, facts: Facts) -> Iterator[str]:
    """Judgements that contradict the recipe, one another or themselves."""
    for label, evaluation in evaluations_of(record):
        yield from (f"{label}.{each}" for each in _wrong_evaluation(evaluation, facts))
        if label in ("baseline", "compressed"):
            yield from (f"{label}.{each}" for each in _wrong_settings(evaluation, recipe, facts))
        if record.compressed is not None and not same_data(evaluation, record.compressed):
            yield f"{label}.data is not that of the compressed model"
    if record.compressed is not None and record.compressed.data.source != recipe.data:
        yield f"compressed.data.source is {record.compressed.data.source}, the recipe names {recipe.data}"
    yield from _wrong_export_settings(record, recipe, facts)
    if (record.baseline is None) != (record.compressed is None or not recipe.evaluation.baseline):
        yield "baseline is not there where the recipe asks for it, or is where it does not"


def evaluations_of(record: RunRecord) -> list[tuple[str, Evaluation]]:
    """Every evaluation of a run, by its key."""
    stated = {"baseline": record.baseline, "compressed": record.compressed}
    for index, export in enumerate(record.exports):
        stated |= {f"exports.{index}.evaluation": export.evaluation, f"exports.{index}.model": export.model}
    return [(key, evaluation) for key, evaluation in stated.items() if evaluation is not None]


def same_data(a: Evaluation, b: Evaluation) -> bool:
    """Whether two models were evaluated on the same data, however it was named and wherever it lay."""
    return replace(a.data, source="", skipped=()) == replace(b.data, source="", skipped=())


def _wrong_export_settings(record: RunRecord, recipe: Recipe, facts: Facts) -> Iterator[str]:
    stride = image_step(facts.model.strides)
    for index, (asked, export) in enumerate(zip(recipe.exports, record.exports, strict=False)):
        if export.evaluation is not None:
            size = fit_image_size(asked.image_size or recipe.evaluation.image_size, stride)
            expected = {**recipe.evaluation.model_dump(), **own_settings(asked, size)}
            known = {key: expected[key] for key in ("image_size", "conf_thres", "iou_thres", "max_det", "resize")}
            yield from differing(f"exports.{index}.evaluation.settings", known, asdict(export.evaluation.settings))


def _wrong_settings(evaluation: Evaluation, recipe: Recipe, facts: Facts) -> Iterator[str]:
    ours, theirs = asdict(evaluation.settings), recipe.evaluation.model_dump()
    size = fit_image_size(recipe.evaluation.image_size, image_step(facts.model.strides))
    expected = {**theirs, "shapes": "rectangles", "used_size": size, "most_per_class": None}
    known = {key: value for key, value in expected.items() if ours.get(key) is not None and key != "precision"}
    yield from differing("settings", known, ours)
    named = recipe.evaluation.precision
    by_device = "float16" if ours["device"].startswith("cuda") else "float32"
    if ours["precision"] != (by_device if named == "auto" else named):
        yield f"settings.precision is {ours['precision']}, the recipe asks for {named} on {ours['device']}"
    if ours["runs_on"] != "torch":
        yield f"settings.runs_on is {ours['runs_on']}, a run evaluates by torch"
    if evaluation.data.split != recipe.evaluation.split:
        yield f"data.split is {evaluation.data.split}, the recipe names {recipe.evaluation.split}"


def _wrong_evaluation(evaluation: Evaluation, facts: Facts) -> Iterator[str]:
    """Sums and means that do not add up, and classes of other names than the model's."""
    metrics, data, draws = evaluation.metrics, evaluation.data, evaluation.resampled
    for each in metrics.classes:
        if each.index >= len(facts.names) or each.name != facts.names[each.index]:
            yield f"metrics.classes: the model has no class {each.index} called {each.name}"
    if metrics.classes:
        if sum(each.instances for each in metrics.classes) != data.instances:
            yield f"data.instances is {data.instances:,}, the classes have others"
        of_mean = {"P": "P", "R": "R", "mAP50": "AP50", "mAP50_95": "AP50_95"}
        for name, of_class in of_mean.items():
            mean = sum(getattr(each, of_class) for each in metrics.classes) / len(metrics.classes)
            stated = getattr(metrics.detection, name)
            if stated is not None and abs(stated - mean) > _EXACT:
                yield f"metrics.detection.{name} is {stated}, the mean of the classes is {mean}"
    curve = evaluation.precision_by_recall
    if curve and metrics.coco.AP50 is not None and abs(sum(curve) / len(curve) - metrics.coco.AP50) > _ROUNDED:
        yield f"metrics.coco.AP50 is {metrics.coco.AP50}, the precision by recall gives {sum(curve) / len(curve):.6f}"
    if draws is not None and (draws.images != data.images or len(draws.AP) != len(draws.AP50)):
        yield f"resampled draws {draws.images:,} images, data.images is {data.images:,}"
    if not data.backgrounds <= data.images:
        yield f"data.backgrounds is {data.backgrounds:,} of {data.images:,} images"
