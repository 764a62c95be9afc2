"""A detector ready to run, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compressor.evaluation.nms import non_max_suppression
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.recipe.schema import Precision


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression as part of a graph: per class, as an evaluation does it.

    Attributes:
        conf_thres: least score, exclusive.
        iou_thres: boxes of a class that overlap a better one by more go.
        max_det: most detections per image and class.
    """

    conf_thres: float
    iou_thres: float
    max_det: int


@dataclass(frozen=True, eq=False)
class Network:
    """What an evaluation needs of a detector.

    Attributes:
        names: class names, index is the class.
        strides: per detection level, input pixels per grid cell.
        predict: (B, 3, H, W) RGB in [0, 1] to (B, N, 4 + nc) as `Family.decode`: boxes and a score for each class; or,
            with `suppression`, to (n, 7): image, x1, y1, x2, y2 in input pixels, score, class.
        device: where `predict` takes its images.
        dtype: in which number type.
        runs_on: what computes it, in words: `torch`, `onnxruntime`.
        image_size: of the only square images it takes, in pixels; None where any multiple of the stride will do.
        batch_size: the only number of images that `predict` takes; None where any number will do.
        suppression: the thresholds of the non-maximum suppression that is part of it; None where it is not.
        model: the layers that `predict` runs, to look into; None where it is not torch that runs them.
    """

    names: tuple[str, ...]
    strides: tuple[int, ...]
    predict: Callable[[Tensor], Tensor]
    device: torch.device
    dtype: torch.dtype = torch.float32
    runs_on: str = "torch"
    image_size: int | None = None
    batch_size: int | None = None
    suppression: Suppression | None = None
    model: Detector | None = None


def inference_network(model: Detector, device: torch.device, precision: Precision = "auto") -> Network:
    """A copy ready to evaluate: folded as every network is for inference, and as the device runs it fastest.

    Args:
        model: stays as it is.
        device: where it runs.
        precision: number type of weights and feature maps; `auto` is float16 on CUDA, as upstream, else float32.
    """
    if precision == "auto":
        dtype = torch.float16 if device.type == "cuda" else torch.float32
    else:
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    family = family_of(model)
    replica = family.for_inference(model, device, dtype)

    def predict(images: Tensor) -> Tensor:
        return family.decode(replica, replica(images))

    return Network(model.names, model.strides, predict, device, dtype, model=replica)


def limited(network: Network, graph: Network) -> Network:
    """A network that takes the squares that a graph takes, and suppresses as it does: to be evaluated in the same way.

    Args:
        network: without suppression, for images of any size.
        graph: with limits.
    """
    taking = replace(network, image_size=graph.image_size)
    suppression = graph.suppression
    if suppression is None:
        return taking

    def predict(images: Tensor) -> Tensor:
        decoded = network.predict(images)
        rows = decoded.shape[1] * (decoded.shape[2] - 4)  # a graph has no limit on candidates
        kept = non_max_suppression(
            decoded,
            conf_thres=suppression.conf_thres,
            iou_thres=suppression.iou_thres,
            max_det=rows,
            max_nms=rows,
        )
        return torch.cat([_numbered(each, image, suppression.max_det) for image, each in enumerate(kept)])

    return replace(taking, predict=predict, suppression=suppression)


def _numbered(detections: Tensor, image: int, most_per_class: int) -> Tensor:
    """(n, 6) rows of one image, best first, to (m, 7) rows that begin with its number: the best of each class."""
    best = [
        detections[detections[:, 5] == number][:most_per_class] for number in sorted(set(detections[:, 5].tolist()))
    ]
    return torch.nn.functional.pad(torch.cat([*best, detections[:0]]), (1, 0), value=float(image))
