"""How far the raw outputs of one network are from those of another, and where these see objects."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

_BACKGROUND = 1e-3  # least weight of a cell in which the other sees nothing
_OBJECTNESS_GAIN, _BOX_GAIN, _CLASS_GAIN = 20.0, 0.5, 0.5  # bring the three terms to like size on COCO


def head_loss(outputs: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """The difference of the logits of all levels: a scalar, at least 0, and 0 where they are equal.

    Boxes by squared error where the other network sees an object, objectness and classes by the cross-entropy with the
    other's probabilities beyond their own entropy; so cells count as they matter to what is detected.

    Args:
        outputs: (B, na, H_l, W_l, nc + 5) per level.
        wanted: the same of the other network.
    """
    return torch.stack([_level_loss(found, target) for found, target in zip(outputs, wanted, strict=True)]).sum()


def _level_loss(outputs: Tensor, wanted: Tensor) -> Tensor:
    targets = wanted[..., 4:].sigmoid()
    seen = targets[..., :1].clamp_min(_BACKGROUND)
    boxes = (seen * (outputs[..., :4] - wanted[..., :4]) ** 2).sum() / (4 * seen.sum())
    entropy = binary_cross_entropy_with_logits(wanted[..., 4:], targets, reduction="none")
    excess = binary_cross_entropy_with_logits(outputs[..., 4:], targets, reduction="none") - entropy
    classes = (seen * excess[..., 1:]).sum() / seen.sum()
    return _BOX_GAIN * boxes + _OBJECTNESS_GAIN * excess[..., :1].mean() + _CLASS_GAIN * classes


def objectness(raw: list[Tensor]) -> list[Tensor]:
    """The highest objectness of any anchor, per level: (B, 1, H_l, W_l) in (0, 1).

    Args:
        raw: (B, na, H_l, W_l, nc + 5) per level.
    """
    return [level[..., 4].sigmoid().amax(dim=1, keepdim=True) for level in raw]
