"""What a training step minimises, whatever the family: its terms, and their gains and thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class LossSettings:
    """Gains and thresholds of the loss; the defaults are upstream's `hyp.scratch-low`.

    Attributes:
        box: gain of the box term.
        cls: gain of the class term.
        obj: gain of the objectness term.
        cls_pw: weight of positive class targets.
        obj_pw: weight of positive objectness targets.
        anchor_t: a box matches an anchor when neither side differs by this factor or more.
        fl_gamma: exponent of the focal loss (Lin et al. 2017, arXiv:1708.02002); 0 is plain cross entropy.
        label_smoothing: class targets are 1 - e/2 and e/2 instead of 1 and 0.
    """

    box: float = 0.05
    cls: float = 0.5
    obj: float = 1.0
    cls_pw: float = 1.0
    obj_pw: float = 1.0
    anchor_t: float = 4.0
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0

    def scaled(self, levels: int, nc: int, image_size: int) -> LossSettings:
        """The gains that training applies for so many levels, classes and pixels; the defaults fit 3, 80 and 640."""
        return replace(
            self,
            box=self.box * 3 / levels,
            cls=self.cls * nc / 80 * 3 / levels,
            obj=self.obj * (image_size / 640) ** 2 * 3 / levels,
        )


@dataclass(frozen=True)
class Loss:
    """Scalars: `total` is what gradients are taken of; the terms include their gains, not the batch size."""

    total: Tensor
    box: Tensor
    obj: Tensor
    cls: Tensor
