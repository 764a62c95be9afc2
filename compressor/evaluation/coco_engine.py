"""COCO's figures by the engine that was asked for: the compiled pass, or pycocotools itself."""

from __future__ import annotations

from compressor.evaluation import coco_compiled
from compressor.evaluation.coco import GroundTruth, Predictions
from compressor.evaluation.coco_figures import CocoFigures
from compressor.evaluation.coco_file import ImageId
from compressor.recipe.schema import CocoEngine


def evaluate_coco(ground_truth: GroundTruth, predictions: Predictions, engine: CocoEngine = "compiled") -> CocoFigures:
    """Match the detections in all images of the ground truth to its objects.

    Images are ordered by their ids, numbers first, so that ids may be text and equal scores keep the order of the ids.
    Only categories that are a class are evaluated.
    """
    rank = {image_id: number for number, image_id in enumerate(sorted(ground_truth.image_ids, key=_numbers_first))}
    if engine == "pycocotools":
        from compressor.evaluation import coco_pycocotools  # noqa: PLC0415  # imports what the other does not need

        return coco_pycocotools.figures(ground_truth, predictions, rank)
    return coco_compiled.figures(ground_truth, predictions, rank)


def _numbers_first(image_id: ImageId) -> tuple[bool, ImageId]:
    return isinstance(image_id, str), image_id
