"""What a run will weigh and how long it will take, told before it."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Mapping
from typing import get_args

import torch

from compressor.artifact.save import Dtype, Layout, Provenance
from compressor.artifact.size import folds_on_load, predicted_size
from compressor.data.dataset import count_images, load_dataset
from compressor.errors import DatasetError
from compressor.evaluation.estimate import seconds_per_image
from compressor.recipe.schema import Recipe
from compressor.results import GZIP_LEVEL, PredictedSize, StepTime
from compressor.yolov5.build import YOLOv5

_SAMPLE_BYTES = 2_000_000
_DIGEST = "0" * 64  # any digest is as long


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
        folds = folds_on_load(model.fused, source, dtype)
        for layout in get_args(Layout):
            text = {**recipe.model_dump(mode="json"), "artifact": {"dtype": dtype, "layout": layout}}
            provenance = Provenance(text, source_name, _DIGEST)
            stored = source if folds else model
            size = predicted_size(stored, zeros, dtype, layout, provenance, fold_on_load=folds)
            sizes.append(PredictedSize(dtype, layout, size))
    return tuple(sizes)


def forecast_times(
    recipe: Recipe, model: YOLOv5, prune_s: float, files: list[int], device: torch.device
) -> tuple[StepTime, ...]:
    """The long steps of a run.

    Args:
        recipe: says what is judged and how.
        model: the model to judge.
        prune_s: what the modifiers took just now, on a copy in memory.
        files: bytes of the files that are compressed to tell their gzipped sizes.
        device: where the model is judged.
    """
    modifiers = StepTime("modify", prune_s, "done just now, in memory")
    save = StepTime("save", _seconds_to_compress(model, files), "a part of the weights, compressed")
    judged = recipe.evaluation
    each = seconds_per_image(model, judged.image_size, judged.batch_size, device)
    images = _images(recipe)
    basis = f"{1e3 * each:.0f} ms per image, " + (
        "number of images not known" if images is None else f"{images:,} images"
    )
    seconds = None if images is None else images * each
    before = (StepTime("evaluate before", seconds, basis),) if judged.baseline else ()
    return (*before, modifiers, save, StepTime("evaluate after", seconds, basis))


def _images(recipe: Recipe) -> int | None:
    """How many images the recipe's split names; None where there is no data set at hand."""
    if recipe.data is None:
        return None
    try:
        return count_images(load_dataset(recipe.data), recipe.evaluation.split)
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
