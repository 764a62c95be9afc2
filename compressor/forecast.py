"""What a run will weigh and how long it will take, told before it."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import torch

from compressor.artifact.save import Dtype, Form, Layout, Provenance
from compressor.artifact.size import PLACEHOLDER_DIGEST, folds_on_load, predicted_size
from compressor.data.dataset import SHAPES, load_dataset, split_images
from compressor.data.shapes import IMAGES
from compressor.errors import DatasetError
from compressor.evaluation.estimate import seconds_per_image
from compressor.outlook import PredictedSize, StageTime
from compressor.recipe.modifiers import Repair
from compressor.recipe.schema import Artifact, Recipe
from compressor.results.files import GZIP_LEVEL
from compressor.yolov5.build import YOLOv5

_SAMPLE_BYTES = 2_000_000


def forecast_sizes(
    recipe: Recipe, source_name: str, source: YOLOv5, model: YOLOv5, zeros: Mapping[str, int]
) -> tuple[PredictedSize, ...]:
    """The file's exact size in every dtype and layout.

    Args:
        recipe: travels in the file.
        source_name: file name of the source weights; likewise.
        source: the model as it was loaded.
        model: the model after the modifiers.
        zeros: zero weights by layer after them.
    """
    sizes = []
    for dtype in get_args(Dtype):
        on_load = folds(recipe, model.fused, source, dtype)
        for layout in get_args(Layout):
            size = forecast_size(recipe, source_name, source if on_load else model, zeros, Form(dtype, layout, on_load))
            sizes.append(PredictedSize(dtype, layout, size))
    return tuple(sizes)


def folds(recipe: Recipe, folded: bool, source: YOLOv5, dtype: Dtype) -> bool:
    """Whether the file will hold the model as it was before folding, to be folded on loading.

    Args:
        recipe: a repair changes more than zeros, so its result can only be stored as it is.
        folded: whether the run folds BatchNorm at all.
        source: the model as it was loaded.
        dtype: number type of the file.
    """
    return not repaired(recipe) and folds_on_load(folded, source, dtype)


def repaired(recipe: Recipe) -> bool:
    """Whether a modifier changes weights other than to zero."""
    return any(isinstance(modifier, Repair) for modifier in recipe.modifiers)


def forecast_size(recipe: Recipe, source_name: str, stored: YOLOv5, zeros: Mapping[str, int], form: Form) -> int:
    """The file's exact size in one form, as if the recipe asked for that form.

    Args:
        recipe: travels in the file.
        source_name: file name of the source weights; likewise.
        stored: the model whose tensors the file holds: before BatchNorm is folded where the reader folds it.
        zeros: zero weights by layer after the modifiers.
        form: number type and layout of the file.
    """
    asked = recipe.model_copy(update={"artifact": Artifact(dtype=form.dtype, layout=form.layout)})
    provenance = Provenance(asked.model_dump(mode="json"), source_name, PLACEHOLDER_DIGEST)
    return predicted_size(stored, zeros, form, provenance)


def forecast_times(
    recipe: Recipe, model: YOLOv5, modify_s: float, files: list[int], device: torch.device
) -> tuple[StageTime, ...]:
    """The long steps of a run.

    Args:
        recipe: says what is judged and how.
        model: the model to judge.
        modify_s: what the prunes took just now, on a copy in memory.
        files: bytes of the files that are compressed to tell their gzipped sizes.
        device: where the model is judged.
    """
    if repaired(recipe):
        modifiers = StageTime("modify", None, f"pruning: {modify_s:.1f} s; repairs are not tried, they take minutes")
    else:
        modifiers = StageTime("modify", modify_s, "done just now, in memory")
    save = StageTime("save", _seconds_to_compress(model, files), "a part of the weights, compressed")
    judged = recipe.evaluation
    each = seconds_per_image(model, judged, device)
    images = _images(recipe)
    basis = f"{1e3 * each:.0f} ms per image, " + (
        "number of images not known" if images is None else f"{images:,} images"
    )
    seconds = None if images is None else images * each
    before = (StageTime("evaluate before", seconds, basis),) if judged.baseline else ()
    exports = (StageTime("export", None, f"{len(recipe.exports)} formats, not tried here"),) if recipe.exports else ()
    return (*before, modifiers, save, StageTime("evaluate after", seconds, basis), *exports)


def _images(recipe: Recipe) -> int | None:
    """How many images the recipe's split names; None where there is no data set at hand."""
    if recipe.data is None:
        return None
    if recipe.data == SHAPES and not Path(SHAPES).is_file():
        return IMAGES.get(recipe.evaluation.split)  # told without drawing them
    try:
        return len(split_images(load_dataset(recipe.data), recipe.evaluation.split))
    except DatasetError:  # a plan needs no data; a run will tell what is wrong with it
        return None


def _seconds_to_compress(model: YOLOv5, files: list[int]) -> float:
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
