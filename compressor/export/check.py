"""Whether an exported file computes what the model does."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.errors import ArtifactError, Diagnostic
from compressor.evaluation.network import Network, Suppression
from compressor.evaluation.nms import non_max_suppression
from compressor.results.run import Agreement

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
        max_det=wanted.shape[1] * (wanted.shape[2] - 4),
    )
    rows = found[:, 1:]
    wanted, sure = _best_of_each_class(expected, suppression)
    _, genuine = _best_of_each_class(rows[rows[:, 4].argsort(descending=True)], suppression)
    close = _close(wanted, rows)
    missed, strange = _without_partner(sure, rows), _without_partner(genuine, expected)
    firm = wanted[wanted[:, 4] > suppression.conf_thres + PROBABILITY, 5]  # which of them there are may go either way
    counts = [int((firm == number).sum() - (rows[:, 5] == number).sum()) for number in set(firm.tolist())]
    missed = max(missed, sum(max(count, 0) for count in counts))
    if missed > (1 - _LEAST_FOUND) * len(wanted):
        raise _differs(path, f"it lacks {missed} of the model's {len(wanted)} detections")
    if strange > (1 - _LEAST_FOUND) * len(genuine):
        raise _differs(path, f"{strange} of its {len(genuine)} detections are not the model's")
    matched = close.any(dim=1)
    partner = close.float().argmax(dim=1) if rows.numel() else torch.zeros(0, dtype=torch.long)
    return wanted[matched, :5], rows[partner[matched], :5]


def _best_of_each_class(detections: Tensor, suppression: Suppression) -> tuple[Tensor, Tensor]:
    """As many of each class as the graph gives; and those of them that rounding cannot take out.

    Args:
        detections: (n, 6), best first.
        suppression: of the graph.
    """
    scores, classes = detections[:, 4], detections[:, 5]
    same = classes[:, None] == classes[None, :]
    place = same.tril(diagonal=-1).sum(dim=1)
    following = same & (place[None, :] == suppression.max_det)  # the first of the class that does not come in
    edge = torch.where(following.any(dim=1), (following * scores[None, :]).sum(dim=1), suppression.conf_thres)
    inside = place < suppression.max_det
    return detections[inside], detections[inside & (scores > edge + PROBABILITY)]


def _without_partner(detections: Tensor, others: Tensor) -> int:
    return int((~_close(detections, others).any(dim=1)).sum())


def _close(detections: Tensor, others: Tensor) -> Tensor:
    """(n, m): whether two detections are the same but for rounding."""
    gap = (detections[:, None, :5] - others[None, :, :5]).abs()
    same_class = detections[:, None, 5] == others[None, :, 5]
    return same_class & (gap[..., :4] <= PIXELS).all(dim=2) & (gap[..., 4] <= PROBABILITY)


def _differs(path: str, what: str) -> ArtifactError:
    help_text = "this is an error of compressor or of the runtime; please report it"
    return ArtifactError(Diagnostic("A503", f"the exported file is not the model: {what}", path, help=help_text))
