"""Kept weights solved again, so that a layer's outputs come as near to the dense model's as its mask allows.

For every filter the weights w that are kept and its bias b minimise, over sampled positions of calibration images,
|y - (w x + b)|^2 + damping |w - w0|^2, with x the inputs in the compressed model, y the outputs in the dense model and
w0 the pruned weights: layer-wise reconstruction (AdaPrune, Hubara et al. 2021, arXiv:2102.08124; Frantar and Alistarh
2022, arXiv:2208.11580).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

_TOLERANCE = 1e-6  # of the residual, relative to its start
_MOST_ITERATIONS = 60  # more fit the images better, and others no better
_SEEN = 0.8  # share of the positions that are drawn where the dense model sees objects


@dataclass(frozen=True)
class Moments:
    """Second moments of what a convolution sees and should give, over sampled positions.

    Attributes:
        inputs: (K + 1, K + 1) float64, mean of x x^T; K = C_in * kH * kW, and the last entry of x is 1.
        outputs: (C_out, K + 1) float64, mean of y x^T.
    """

    inputs: Tensor
    outputs: Tensor

    def covariance(self) -> Tensor:
        """(K, K) of the inputs, less their means: what is left once every bias is free."""
        mean = self.inputs[:-1, -1]
        return self.inputs[:-1, :-1] - mean[:, None] * mean[None]


def moments(
    conv: nn.Conv2d, inputs: Tensor, wanted: Tensor, objectness: Tensor, positions: int, generator: torch.Generator
) -> Moments:
    """Moments over positions drawn from all images, most of them where the dense model sees objects.

    Args:
        conv: its kernel, stride and padding.
        inputs: (N, C_in, H, W), of one channel group.
        wanted: (N, C_out, H', W'), of the same.
        objectness: (N, h, w), above 0, of any resolution; see `lockstep.objectness`.
        positions: how many to draw in all, the same for every image.
        generator: of the CPU; decides which.
    """
    images, height, width = wanted.shape[0], wanted.shape[2], wanted.shape[3]
    each = max(1, positions // images)
    columns = conv.weight[0].numel() + 1
    second = torch.zeros(columns, columns, dtype=torch.float64, device=inputs.device)
    cross = torch.zeros(wanted.shape[1], columns, dtype=torch.float64, device=inputs.device)
    for image, target, seen in zip(inputs, wanted, objectness, strict=True):
        drawn, weights = (values.to(inputs.device) for values in draw(seen, (height, width), each, generator))
        x = torch.cat((patches(conv, image, drawn // width, drawn % width), torch.ones_like(weights)[None]))
        second += ((x * weights) @ x.T).double()
        cross += ((target.flatten(1)[:, drawn] * weights) @ x.T).double()
    return Moments(second / images, cross / images)


def draw(seen: Tensor, size: tuple[int, int], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Positions of a feature map, most of them in proportion to `seen`, the others evenly, and how much each counts.

    Where there are no more positions than wanted they are all taken, and count as often as they would be drawn.

    Args:
        seen: (h, w), above 0; scaled to `size`.
        size: height and width of the feature map.
        count: how many.
        generator: of the CPU; decides which.

    Returns:
        Positions, (n,), perhaps repeated; and weights, (n,), which sum to 1.
    """
    scaled = interpolate(seen[None, None].cpu(), size, mode="nearest").flatten()
    chances = (1 - _SEEN) / scaled.numel() + _SEEN * scaled / scaled.sum()
    if count >= chances.numel():
        return torch.arange(chances.numel()), chances
    return torch.multinomial(chances, count, replacement=True, generator=generator), torch.full((count,), 1 / count)


def patches(conv: nn.Conv2d, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What the convolution sees at some of its output positions.

    Args:
        conv: its kernel, stride and padding.
        image: (C_in, H, W).
        rows: (n,), output rows.
        columns: (n,), output columns.

    Returns:
        (C_in * kH * kW, n), in the order of the flattened weight.
    """
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pair(conv.kernel_size), _pair(conv.stride), _pair(conv.padding)
    padded = pad(image, (p_w, p_w, p_h, p_h))
    y = rows * s_h + torch.arange(k_h, device=image.device).view(-1, 1, 1)
    x = columns * s_w + torch.arange(k_w, device=image.device).view(1, -1, 1)
    return padded[:, y, x].reshape(-1, rows.numel())


def solve(found: Moments, start: Tensor, keep: Tensor, damping: float) -> Tensor:
    """The minimiser, by conjugate gradients on all filters at once, each within its own mask.

    Args:
        found: of the layer.
        start: (C_out, K + 1) float64, pruned weights and bias; also what damping pulls towards.
        keep: (C_out, K + 1), True where a value may be other than zero.
        damping: share of the mean square of the inputs, above 0.

    Returns:
        (C_out, K + 1) float64; exactly zero where `keep` is False.
    """
    second, mask = found.inputs, keep.to(start.dtype)
    diagonal = second.diagonal()
    ridge = torch.full_like(diagonal, damping * float(diagonal[:-1].mean()))
    ridge[-1] = 0.0  # the bias is free
    scale = 1 / (diagonal + ridge).clamp_min(torch.finfo(second.dtype).tiny)

    def apply(rows: Tensor) -> Tensor:
        return (rows @ second + rows * ridge) * mask

    solution = start * mask
    residual = (found.outputs + start * ridge) * mask - apply(solution)
    direction = residual * scale
    size = (residual * direction).sum(dim=1, keepdim=True)
    enough = _TOLERANCE**2 * size
    for _ in range(_MOST_ITERATIONS):
        if bool((size <= enough).all()):
            break
        image = apply(direction)
        curvature = (direction * image).sum(dim=1, keepdim=True)
        step = torch.where(curvature > 0, size / curvature, torch.zeros_like(size))
        solution += step * direction
        residual -= step * image
        preconditioned = residual * scale
        before, size = size, (residual * preconditioned).sum(dim=1, keepdim=True)
        ratio = torch.where(before > 0, size / before, torch.zeros_like(size))
        direction = preconditioned + ratio * direction
    return solution


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, int]:
    assert isinstance(value, tuple)  # as nn.Conv2d keeps them; Detector pads by numbers
    return value[0], value[1]
