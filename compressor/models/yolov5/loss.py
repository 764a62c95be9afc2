"""The YOLOv5 loss: which prediction answers for which box, and what its error costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from compressor.models.losses import Loss, LossSettings

_EPS = 1e-7
_FOCAL_ALPHA = 0.25
# (rows, columns) to step back before rounding down: the own cell, then left, upper, right and lower neighbour
_OFFSETS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))


@dataclass(frozen=True)
class Assignment:
    """The matches of one level, in the order in which objectness targets are written; n rows each.

    Attributes:
        image: index in the batch.
        anchor: index of the anchor.
        row: cell row, inside the grid.
        column: cell column, inside the grid.
        class_index: class of the box.
        box: (n, 4) centre x and y relative to the cell, width, height; in cells.
        anchor_size: (n, 2) width and height of the anchor, in cells.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    class_index: Tensor
    box: Tensor
    anchor_size: Tensor


def detection_loss(raw: list[Tensor], targets: Tensor, anchors: Tensor, settings: LossSettings) -> Loss:
    """The loss of one batch; the total is the sum of the terms times the batch size.

    Args:
        raw: per level, logits (B, na, H, W, nc + 5) as `Detect.forward` returns them.
        targets: (n, 6) image index, class, centre x, centre y, width, height; coordinates are fractions of the image.
        anchors: (levels, na, 2) in cells, as in `Detect.anchors`.
        settings: gains, as they are to be applied.
    """
    balances = (4.0, 1.0, 0.4) if len(raw) == 3 else (4.0, 1.0, 0.25, 0.06, 0.02)
    box, obj, cls = (torch.zeros((), device=raw[0].device, dtype=raw[0].dtype) for _ in range(3))
    for logits, level_anchors, balance in zip(raw, anchors, balances[: len(raw)], strict=True):
        matches = assign(targets, level_anchors, (logits.shape[3], logits.shape[2]), settings.anchor_t)
        matched = logits[matches.image, matches.anchor, matches.row, matches.column]
        objectness = torch.zeros_like(logits[..., 4])
        if len(matched):
            overlap = ciou(decode_matches(matched, matches.anchor_size), matches.box)
            box = box + (1.0 - overlap).mean()
            _write_last(objectness, matches, overlap.detach().clamp(0).to(objectness.dtype))
            cls = cls + _class_loss(matched[:, 5:], matches.class_index, settings)
        obj = obj + balance * _cross_entropy(logits[..., 4], objectness, settings.obj_pw, settings.fl_gamma)
    box, obj, cls = settings.box * box, settings.obj * obj, settings.cls * cls
    return Loss((box + obj + cls) * raw[0].shape[0], box.detach(), obj.detach(), cls.detach())


def assign(targets: Tensor, anchors: Tensor, grid: tuple[int, int], anchor_t: float) -> Assignment:
    """Match boxes with anchors of similar size in their own cell and the two nearest ones.

    Args:
        targets: (n, 6) image index, class, centre x, centre y, width, height; coordinates are fractions of the image.
        anchors: (na, 2) in cells.
        grid: columns and rows.
        anchor_t: largest factor between a side of the box and of the anchor, exclusive.
    """
    size = torch.tensor(grid, device=targets.device, dtype=targets.dtype)
    scaled = torch.cat((targets[:, :2], targets[:, 2:4] * size, targets[:, 4:6] * size), dim=1)
    ratio = scaled[None, :, 4:6] / anchors[:, None]
    fits = torch.maximum(ratio, 1 / ratio).amax(dim=2) < anchor_t  # (na, n)
    anchor, target = fits.nonzero(as_tuple=True)
    matches = scaled[target]
    offset, match = _cells_used(matches[:, 2:4], size).nonzero(as_tuple=True)
    matches, anchor = matches[match], anchor[match]
    cell = (matches[:, 2:4] - torch.tensor(_OFFSETS, device=size.device, dtype=size.dtype)[offset]).long()
    return Assignment(
        image=matches[:, 0].long(),
        anchor=anchor,
        row=cell[:, 1].clamp(0, grid[1] - 1),
        column=cell[:, 0].clamp(0, grid[0] - 1),
        class_index=matches[:, 1].long(),
        box=torch.cat((matches[:, 2:4] - cell, matches[:, 4:6]), dim=1),
        anchor_size=anchors[anchor],
    )


def _cells_used(centre: Tensor, size: Tensor) -> Tensor:
    """(5, n) bool: the own cell always; left, upper, right, lower where it is the nearer one and in the grid."""
    from_end = size - centre
    left, upper = ((centre % 1 < 0.5) & (centre > 1)).T
    right, lower = ((from_end % 1 < 0.5) & (from_end > 1)).T
    return torch.stack((torch.ones_like(left), left, upper, right, lower))


def decode_matches(logits: Tensor, anchor_size: Tensor) -> Tensor:
    """Logits (n, nc + 5) to boxes (n, 4) relative to their cells: centre x, centre y, width, height; in cells."""
    xy = logits[:, 0:2].sigmoid() * 2 - 0.5
    wh = (logits[:, 2:4].sigmoid() * 2) ** 2 * anchor_size
    return torch.cat((xy, wh), dim=1)


def ciou(predicted: Tensor, target: Tensor) -> Tensor:
    """Complete IoU of box pairs (Zheng et al. 2020, arXiv:1911.08287).

    CIoU = IoU - (centre distance^2 / enclosing diagonal^2 + alpha v), v = 4 / pi^2 (atan(w_t/h_t) - atan(w_p/h_p))^2,
    alpha = v / (1 - IoU + v) without gradient.

    Args:
        predicted: (n, 4) centre x, centre y, width, height.
        target: the same.

    Returns:
        (n,) in [-1.5, 1].
    """
    low_p, high_p = predicted[:, :2] - predicted[:, 2:] / 2, predicted[:, :2] + predicted[:, 2:] / 2
    low_t, high_t = target[:, :2] - target[:, 2:] / 2, target[:, :2] + target[:, 2:] / 2
    intersection = (torch.minimum(high_p, high_t) - torch.maximum(low_p, low_t)).clamp(0).prod(dim=1)
    union = predicted[:, 2:].prod(dim=1) + target[:, 2:].prod(dim=1) - intersection + _EPS
    iou = intersection / union
    enclosing = torch.maximum(high_p, high_t) - torch.minimum(low_p, low_t)
    distance = ((predicted[:, :2] - target[:, :2]) ** 2).sum(dim=1) / ((enclosing**2).sum(dim=1) + _EPS)
    angle_t = torch.atan(target[:, 2] / target[:, 3])
    angle_p = torch.atan(predicted[:, 2] / predicted[:, 3])
    v = 4 / math.pi**2 * (angle_t - angle_p) ** 2
    with torch.no_grad():
        alpha = v / (v - iou + 1 + _EPS)
    return iou - (distance + alpha * v)


def _write_last(objectness: Tensor, matches: Assignment, overlap: Tensor) -> None:
    """Write the overlaps to their cells (B, na, H, W), in place; of several for one cell the last one stays.

    Plain indexed assignment leaves open which one stays.
    """
    _, anchors, rows, columns = objectness.shape
    cell = ((matches.image * anchors + matches.anchor) * rows + matches.row) * columns + matches.column
    order = torch.arange(len(cell), device=cell.device)
    last = torch.zeros(objectness.numel(), dtype=torch.long, device=cell.device)
    last.scatter_reduce_(0, cell, order, reduce="amax", include_self=False)
    stays = last[cell] == order
    objectness.view(-1)[cell[stays]] = overlap[stays]


def _class_loss(logits: Tensor, class_index: Tensor, settings: LossSettings) -> Tensor:
    """Mean over matches and classes; 0 for a single class, whose objectness says it all."""
    if logits.shape[1] == 1:
        return logits.new_zeros(())
    target = torch.full_like(logits, settings.label_smoothing / 2)
    target[torch.arange(len(target), device=target.device), class_index] = 1 - settings.label_smoothing / 2
    return _cross_entropy(logits, target, settings.cls_pw, settings.fl_gamma)


def _cross_entropy(logits: Tensor, target: Tensor, positive_weight: float, gamma: float) -> Tensor:
    """Mean binary cross entropy; with gamma > 0 its focal variant (Lin et al. 2017, arXiv:1708.02002)."""
    weight = torch.tensor(positive_weight, device=logits.device, dtype=logits.dtype)
    if gamma == 0:
        return binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    loss = binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    probability = logits.sigmoid()
    p_t = target * probability + (1 - target) * (1 - probability)
    balance = target * _FOCAL_ALPHA + (1 - target) * (1 - _FOCAL_ALPHA)
    return (loss * balance * (1 - p_t) ** gamma).mean()
