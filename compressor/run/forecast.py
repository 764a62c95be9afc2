"""What a run will weigh and how long it will take, told before it."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch

from compressor.artifact.save import Dtype, Form, Layout, Provenance
from compressor.artifact.size import PLACEHOLDER_DIGEST, predicted_size
from compressor.artifact.stored_form import StoredForm, stored_form
from compressor.data.batches import fit_image_size
from compressor.evaluation.estimate import SECONDS_BESIDE_INFERENCE, inference_seconds
from compressor.evaluation.evaluate import METRICS_STEP
from compressor.evaluation.timing import PAIRS, WARM_UP
from compressor.models.detector import Detector
from compressor.models.strides import image_step
from compressor.modifiers.state import State
from compressor.modifiers.steps import altered
from compressor.recipe.exports import TRAITS, Export
from compressor.recipe.schema import Artifact, Recipe
from compressor.results.files import GZIP_LEVEL
from compressor.results.plan import PredictedSize, StageTime
from compressor.run.folder import MODEL

_SAMPLE_BYTES = 2_000_000
_SECONDS_OF_REPORT = 1.5  # its pictures, nearly all of it


@dataclass(frozen=True)
class Known:
    """What planning a run has found out about its time.

    Attributes:
        open_s: seconds that it took to open weights and data; drawing the embedded data set is left out.
        search_s: and to settle a budget; None where there is none.
        modify_s: and to prune, on a copy in memory.
        modify_steps: titles of what the modifiers of a run do.
        files: bytes of the files that are compressed to tell their gzipped sizes.
        evaluates: whether the run evaluates.
        images: on how many; None where the data are not at hand.
    """

    open_s: float
    search_s: float | None
    modify_s: float
    modify_steps: tuple[str, ...]
    files: tuple[int, ...]
    evaluates: bool
    images: int | None


def forecast_sizes(
    recipe: Recipe, source_name: str, source: Detector, state: State, zeros: Mapping[str, int]
) -> tuple[PredictedSize, ...]:
    """The file's exact size in every dtype and layout.

    Args:
        recipe: travels in the file.
        source_name: file name of the source weights; likewise.
        source: the model as it was loaded.
        state: the model after the modifiers, with the number types that they chose.
        zeros: zero weights by layer after them.
    """
    sizes = []
    for dtype in get_args(Dtype):
        for layout in get_args(Layout):
            form = Form(dtype, layout, formats=state.formats)
            fused = state.model.fused
            stored = stored_form(state.model, source, form, folded=fused, only_zeros=only_zeros(recipe))
            sizes.append(PredictedSize(dtype, layout, forecast_size(recipe, source_name, stored, zeros)))
    return tuple(sizes)


def only_zeros(recipe: Recipe) -> bool:
    """Whether the modifiers alter nothing but zeros."""
    return not altered(recipe.modifiers) - {"zeros"}


def forecast_size(recipe: Recipe, source_name: str, stored: StoredForm, zeros: Mapping[str, int]) -> int:
    """The file's exact size in one form, as if the recipe asked for that form.

    Args:
        recipe: travels in the file.
        source_name: file name of the source weights; likewise.
        stored: what the file holds.
        zeros: zero weights by layer after the modifiers.
    """
    asked = recipe.model_copy(update={"artifact": Artifact(dtype=stored.form.dtype, layout=stored.form.layout)})
    provenance = Provenance(asked.model_dump(mode="json"), source_name, PLACEHOLDER_DIGEST)
    return predicted_size(stored.network, zeros, stored.form, provenance)


def forecast_times(recipe: Recipe, model: Detector, known: Known, device: torch.device) -> tuple[StageTime, ...]:
    """Every stage of a run, in order, with the steps that its account of time will name.

    Args:
        recipe: says what is judged and how.
        model: the model to judge.
        known: what planning found out.
        device: where the model is judged.
    """
    data, weights = recipe.data, recipe.model.weights
    reading = (f"open {data}", f"read {data}") if known.evaluates else ()
    opening = (f"find {weights}", f"load {weights}", "describe the model", *reading)
    stages = [StageTime("open", known.open_s, "weights and data, opened just now", opening)]
    each, judged = _evaluation(recipe, model, known, device)
    both = known.evaluates and recipe.evaluation.baseline
    if both:
        stages.append(replace(judged, stage="evaluate before", steps=("evaluate before", METRICS_STEP)))
    if known.search_s is not None:
        stages.append(StageTime("search", known.search_s, "done just now, in memory", known.modify_steps))
    stages.append(_modifying(recipe, known))
    basis = "a part of the weights, compressed"
    saving = (f"save {MODEL}", "measure sizes")
    stages.append(StageTime("save", _seconds_to_compress(model, known.files), basis, saving))
    if known.evaluates:
        stages.append(replace(judged, stage="evaluate after", steps=("evaluate after", METRICS_STEP)))
    if both:
        passes = 2 * (PAIRS + WARM_UP)
        basis = f"{passes} passes of one image, {1e3 * each:.0f} ms each"
        stages.append(StageTime("turns", passes * each, basis, ("time both in turns",)))
    stride = image_step(model.strides)
    stages += [_export(export, recipe, stride) if known.evaluates else _written(export) for export in recipe.exports]
    return (*stages, StageTime("report", _SECONDS_OF_REPORT, "as on a machine with two cores", ("report",)))


def _evaluation(recipe: Recipe, model: Detector, known: Known, device: torch.device) -> tuple[float, StageTime]:
    """Seconds of inference per image, and what evaluating them all takes."""
    if not known.evaluates:
        return 0.0, StageTime("", None, "")
    inference = inference_seconds(model, recipe.evaluation, device)
    each = inference + SECONDS_BESIDE_INFERENCE
    told = "number of images not known" if known.images is None else f"{known.images:,} images"
    seconds = None if known.images is None else known.images * each
    return inference, StageTime("", seconds, f"{1e3 * each:.0f} ms per image, {told}")


def _modifying(recipe: Recipe, known: Known) -> StageTime:
    if "values" in altered(recipe.modifiers):
        basis = f"pruning: {known.modify_s:.1f} s; repairs are not tried, they take minutes"
        return StageTime("modify", None, basis, known.modify_steps)
    return StageTime("modify", known.modify_s, "done just now, in memory", known.modify_steps)


def _written(export: Export) -> StageTime:
    return StageTime("export", None, f"{export.file_name}, not tried here", (f"export {export.file_name}",))


def _export(export: Export, recipe: Recipe, stride: int) -> StageTime:
    """Writing a file and evaluating it; beside a graph the model by the graph's protocol, where that is another."""
    written = _written(export)
    if not export.evaluate:
        return written
    steps = (*written.steps, f"evaluate {export.file_name}", METRICS_STEP)
    if TRAITS[export.format].graph and (export.nms or not export.dynamic_size):
        size = fit_image_size(export.image_size or recipe.evaluation.image_size, stride)
        shapes = "rectangles" if export.dynamic_size else "squares"
        steps += (f"evaluate the model on {shapes} of {size} px",)
    return replace(written, steps=steps)


def _seconds_to_compress(model: Detector, files: Sequence[int]) -> float:
    """Compressing, in threads, is nearly all the time it takes to save a model; a sample tells how fast it goes."""
    sample = b""
    for tensor in model.state_dict().values():
        sample += tensor.detach().cpu().numpy().tobytes()
        if len(sample) >= _SAMPLE_BYTES:
            break
    start = time.perf_counter()
    gzip.compress(sample[:_SAMPLE_BYTES], compresslevel=GZIP_LEVEL)
    per_byte = (time.perf_counter() - start) / min(len(sample), _SAMPLE_BYTES)
    return per_byte * max(*files, sum(files) / (os.cpu_count() or 1))
