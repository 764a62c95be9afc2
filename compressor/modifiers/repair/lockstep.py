"""The dense and the compressed model run side by side on the same images, and meet at every convolution.

One forward pass carries both: the first half of the batch flows through the dense weights, the second half through the
compressed ones, and a repair may change those at the very moment their inputs are known. So each layer is repaired on
what the repaired layers before it give, and no layer is run twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from compressor.models.batchnorm import batchnorm_behind, batchnorm_scale
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.progress import Update

_ROUNDING = 1e-5  # of float32, relative, in sums of many products
_AROUND = 5  # cells; what lies around an object tells it from the background


@dataclass(frozen=True)
class Meeting:
    """One convolution of the compressed model, and what it sees and should give.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        conv: the compressed convolution; a repair changes its weight, and its bias through `shift`.
        batchnorm: the BatchNorm behind it where it is not folded.
        mean: (C_out,), that BatchNorm's running mean as the meeting begins; None where there is none.
        dense: (C_out, C_in, kH, kW), the dense model's weight, in the units of `wanted`.
        inputs: (N, C_in, H, W), in the compressed model.
        wanted: (N, C_out, H', W'), the outputs by which what follows is as in the dense model.
    """

    name: str
    conv: nn.Conv2d
    batchnorm: nn.BatchNorm2d | None
    mean: Tensor | None
    dense: Tensor
    inputs: Tensor
    wanted: Tensor

    @property
    def differs(self) -> bool:
        """Whether the outputs are other than wanted, by more than another order of summation makes them."""
        error = (self.outputs() - self.wanted).square().mean()
        return bool(error > _ROUNDING**2 * self.wanted.square().mean())

    def outputs(self) -> Tensor:
        """What the compressed convolution gives now, with the shifts since the meeting began, (N, C_out, H', W')."""
        found: Tensor = self.conv(self.inputs)
        if self.batchnorm is not None and self.batchnorm.running_mean is not None and self.mean is not None:
            found += (self.mean - self.batchnorm.running_mean).view(-1, 1, 1)
        return found

    def shift(self, by: Tensor) -> None:
        """Add to every output of a channel; (C_out,). Without a bias the BatchNorm's running mean takes it."""
        if self.conv.bias is not None:
            self.conv.bias += by
        elif self.batchnorm is not None and self.batchnorm.running_mean is not None:
            self.batchnorm.running_mean -= by


def side_by_side(
    dense: Detector, compressed: Detector, images: Tensor, meet: Callable[[Meeting], None], progress: Update
) -> None:
    """Run both models once over all images and call `meet` at every convolution, in the order in which they run.

    Memory is that of the largest feature maps of 2 N images.

    Args:
        dense: in evaluation mode; stays as it is.
        compressed: the same network in the same form; `meet` may change it in place.
        images: (N, 3, H, W) in [0, 1]; H and W multiples of the largest stride.
        meet: called with each convolution.
        progress: told the number of convolutions done and their total.
    """
    ours, theirs = dict(dense.named_modules()), dict(compressed.named_modules())
    convs = [(name, module) for name, module in dense.named_modules() if isinstance(module, nn.Conv2d)]
    done = 0

    def hook(name: str, source: nn.Conv2d) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        conv, behind = theirs[name], batchnorm_behind(name)
        assert isinstance(conv, nn.Conv2d)
        batchnorm, wanted = theirs.get(behind), ours.get(behind)

        def run(_module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> Tensor:
            nonlocal done
            half = inputs[0].shape[0] // 2
            given, target = inputs[0][half:], outputs[:half]
            if isinstance(batchnorm, nn.BatchNorm2d) and isinstance(wanted, nn.BatchNorm2d):
                meet(_before_batchnorm(name, conv, batchnorm, given, (source.weight, target, wanted)))
            else:
                meet(Meeting(name, conv, None, None, source.weight, given, target))
            outputs[half:] = conv(given)
            done += 1
            progress(done, len(convs))
            return outputs

        return run

    def normalise(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        batchnorm = theirs[name]

        def run(_module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> Tensor:
            half = inputs[0].shape[0] // 2
            outputs[half:] = batchnorm(inputs[0][half:])
            return outputs

        return run

    handles = [module.register_forward_hook(hook(name, module)) for name, module in convs]
    handles += [
        module.register_forward_hook(normalise(name))
        for name, module in dense.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    try:
        with torch.inference_mode():
            dense(torch.cat((images, images)))
    finally:
        for handle in handles:
            handle.remove()


def _before_batchnorm(
    name: str, conv: nn.Conv2d, batchnorm: nn.BatchNorm2d, inputs: Tensor, dense: tuple[Tensor, Tensor, nn.BatchNorm2d]
) -> Meeting:
    """A meeting where BatchNorm is kept: a repair before may have changed it, and then other outputs are wanted.

    Args:
        name: of the convolution.
        conv: of the compressed model.
        batchnorm: behind it.
        inputs: (N, C_in, H, W), in the compressed model.
        dense: the dense model's weight, its outputs (N, C_out, H', W') and the BatchNorm behind them.
    """
    weight, outputs, theirs = dense
    assert batchnorm.running_mean is not None and theirs.running_mean is not None  # as Detector keeps them
    scale = batchnorm_scale(batchnorm)
    live = scale != 0
    unit = scale.where(live, 1.0)
    ratio = torch.where(live, batchnorm_scale(theirs) / unit, 1.0)  # 1, and the offset 0, where both are the same
    offset = batchnorm.running_mean - ratio * theirs.running_mean
    offset += torch.where(live, (theirs.bias - batchnorm.bias) / unit, 0.0)
    wanted = outputs * ratio.view(-1, 1, 1) + offset.view(-1, 1, 1)
    mean = batchnorm.running_mean.clone()
    return Meeting(name, conv, batchnorm, mean, weight * ratio.view(-1, 1, 1, 1), inputs, wanted)


def objectness(dense: Detector, images: Tensor) -> Tensor:
    """Where the dense model sees objects: the highest objectness of any anchor and level around each cell.

    Args:
        dense: in evaluation mode.
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N, H / s, W / s) in (0, 1), with s the smallest stride.
    """
    found, family = [], family_of(dense)
    with torch.inference_mode():
        for image in images:
            levels = family.object_maps(dense(image[None]))
            finest = levels[0].shape[2:]
            highest = torch.stack([interpolate(level, finest, mode="nearest") for level in levels]).amax(dim=0)
            found.append(max_pool2d(highest, _AROUND, stride=1, padding=_AROUND // 2)[0, 0])
    return torch.stack(found)
