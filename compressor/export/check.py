"""Whether an exported file computes what the model does."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.errors import ArtifactError, Diagnostic
from compressor.evaluation.network import Network, Suppression
from compressor.evaluation.nms import non_max_suppression
from compressor.results.files import Agreement

PIXELS, PROBABILITY = 0.1, 1e-3  # most that two runtimes may differ by in float32
_LEAST_FOUND = 0.99  # of the detections; two boxes at the threshold of overlap may go either way


def compare(
    model: Network, exported: Network, images: Tensor, suppression: Suppression | None, path: str
) -> Agreement | None:
    """Compare on real images, one at a time.

    Args:
        model: what was exported.
        exported: the file, opened.
        images: (N, 3, S, S) in [0, 1], of a size that `exported` takes.
        suppression: where it is part of the file.
        path: the file, for messages.

    Returns:
        None where suppression leaves nothing of either to compare.

    Raises:
        ArtifactError: A503 they differ by more than rounding.
    """
    pixels = probability = 0.0
    values = 0
    with torch.inference_mode():
        for image in images[:, None]:
            wanted, found = model.predict(image), exported.predict(image)
            if suppression is not None:
                wanted, found = _pairs(wanted, found, suppression, path)
            if wanted.shape != found.shape:
                raise _differs(path, f"it gives {list(found.shape)} where the model gives {list(wanted.shape)}")
            values += wanted.shape[-2]
            gap = (wanted - found).abs().nan_to_num(nan=torch.inf)
            pixels = max(pixels, _largest(gap[..., :4]))
            probability = max(probability, _largest(gap[..., 4:]))
    if pixels > PIXELS or probability > PROBABILITY:
        raise _differs(path, f"boxes differ by up to {pixels:.3g} px and probabilities by up to {probability:.3g}")
    return Agreement(len(images), pixels, probability) if values else None


def _largest(values: Tensor) -> float:
    return float(values.max()) if values.numel() else 0.0


def _pairs(wanted: Tensor, found: Tensor, suppression: Suppression, path: str) -> tuple[Tensor, Tensor]:
    """Detections of one image that are in both, each as x1, y1, x2, y2, score."""
    (expected,) = non_max_suppression(
        wanted,
        conf_thres=suppression.conf_thres,
        iou_thres=suppression.iou_thres,
        max_det=suppression.max_det * (wanted.shape[2] - 5),  # the graph counts per class
        multi_label=True,
    )
    rows = found[:, 1:]
    same_class = expected[:, None, 5] == rows[None, :, 5]
    gap = (expected[:, None, :5] - rows[None, :, :5]).abs()
    close = same_class & (gap[..., :4] <= PIXELS).all(dim=2) & (gap[..., 4] <= PROBABILITY)
    matched, genuine = close.any(dim=1), close.any(dim=0)
    if int(matched.sum()) < _LEAST_FOUND * len(expected):
        raise _differs(path, f"it gives {int(matched.sum())} of the model's {len(expected)} detections")
    if int(genuine.sum()) < _LEAST_FOUND * len(rows):
        raise _differs(path, f"{len(rows) - int(genuine.sum())} of its {len(rows)} detections are not the model's")
    partner = close.float().argmax(dim=1) if rows.numel() else torch.zeros(0, dtype=torch.long)
    return expected[matched, :5], rows[partner[matched], :5]


def _differs(path: str, what: str) -> ArtifactError:
    help_text = "this is a fault of compressor or of the runtime; please report it"
    return ArtifactError(Diagnostic("A503", f"the exported file is not the model: {what}", path, help=help_text))
