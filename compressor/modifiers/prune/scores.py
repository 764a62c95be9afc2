"""How important a weight is: one score per weight, higher is kept longer."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compressor.plan.layers import Layer
from compressor.recipe.modifiers import Prune

Score = NDArray[np.float32]


def score(layer: Layer, modifier: Prune, input_norms: Mapping[str, Tensor]) -> Score:
    """The score that the modifier asks for, (numel,) in C order, to be compared by its size.

    For `magnitude` these are the weights themselves, in their own memory where it holds float32.

    Args:
        layer: with its scale where the score needs it, which `steps_of` has made sure of.
        modifier: names the score.
        input_norms: of each layer by name, see `wanda`; asked for where the score is that.
    """
    match modifier.score:
        case "magnitude":
            return _values(layer.weight)
        case "raw_magnitude":
            return scaled_magnitude(layer, folded=False)
        case "folded_magnitude":
            return scaled_magnitude(layer, folded=True)
        case "wanda":
            return wanda(layer.weight, input_norms[layer.name])
        case "random":
            assert modifier.seed is not None  # the schema fills it in
            return random(layer.weight.numel(), modifier.seed, layer.name)
        case _:
            assert_never(modifier.score)


def magnitude(weight: Tensor) -> Score:
    """|w| (Han et al. 2015, arXiv:1506.02626).

    Args:
        weight: any shape, any floating type.

    Returns:
        (numel,) in C order.
    """
    scores: Score = np.abs(_values(weight))
    return scores


def _values(weight: Tensor) -> Score:
    values: Score = weight.detach().float().cpu().numpy().reshape(-1)
    return values


def scaled_magnitude(layer: Layer, *, folded: bool) -> Score:
    """|w| as it is with its BatchNorm folded into it, or as it was before; the same where it has none, (numel,).

    A filter whose BatchNorm multiplies by zero is all zeros once it is folded, and scores zero either way.
    """
    if layer.scale is None or folded == layer.folded:
        return magnitude(layer.weight)
    scale = layer.scale.abs().to(layer.weight).view(-1, 1, 1, 1)
    if folded:
        return magnitude(layer.weight * scale)
    return magnitude(layer.weight / scale.where(scale > 0, 1.0))


def wanda(weight: Tensor, input_norm: Tensor) -> Score:
    """|w| times the size of the inputs it meets (Sun et al. 2023, arXiv:2306.11695), by their root mean square.

    Compared as any score, over a layer or the network; the paper compares within each output only.

    Args:
        weight: (C_out, C_in / groups, kH, kW).
        input_norm: (C_in,), root mean square of each input channel over calibration images.

    Returns:
        (numel,) in C order.
    """
    groups = input_norm.numel() // weight.shape[1]
    met = input_norm.to(weight).view(groups, -1).repeat_interleave(weight.shape[0] // groups, dim=0)
    return magnitude(weight * met[:, :, None, None])


def random(count: int, seed: int, name: str) -> Score:
    """Scores of chance, drawn from [0, 1); each layer has its own, whatever other layers there are.

    Args:
        count: how many.
        seed: decides them, together with the name.
        name: of the layer.
    """
    drawn = np.random.RandomState([seed, zlib.crc32(name.encode())])
    return drawn.random_sample(count).astype(np.float32)
