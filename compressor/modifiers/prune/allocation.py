"""How a sparsity is shared out over layers: from one fraction to a whole number of weights per layer.

Every function takes the layers' scores or shapes in model order and returns how many weights each layer loses.
But for `uniform` the counts sum to exactly round(sparsity x all weights). One threshold over all layers needs no
counts: see `selection.cuts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressor.jit import compiled
from compressor.modifiers.prune.groups import exact_count
from compressor.results.sensitivity import LayerLosses

Scores = Sequence[NDArray[np.float32]]

_DIGIT = 11  # bits; three digits hold the 31 of a size


def uniform(sizes: Sequence[int], sparsity: float) -> list[int]:
    """The same sparsity in every layer: round(sparsity x weights) each, as upstream's `prune()`."""
    return [exact_count(sparsity, size) for size in sizes]


def lamp(scores: Scores, sparsity: float) -> list[int]:
    """One threshold over LAMP scores: layer-adaptive magnitude (Lee et al. 2021, arXiv:2010.07611).

    LAMP(u) = w_u^2 / sum of w_v^2 over all v of the layer with |w_v| >= |w_u|. The order inside a layer stays that of
    the magnitudes, and a layer's largest weight, of score 1, is among the last to go.
    """
    ascending = [lamp_scores(layer) for layer in scores]
    return _lowest(ascending, exact_count(sparsity, sum(layer.size for layer in ascending)))


def _lowest(ascending: Scores, count: int) -> list[int]:
    """How many of the `count` lowest scores over all layers each layer has; ties go by layer order.

    The bits of floats of one sign are ordered as they are, so the threshold is found by halving what it can be.
    """
    low, high = 0, int(np.float32(np.inf).view(np.uint32))
    while low < high:
        middle = (low + high) // 2
        up_to = _below(ascending, np.uint32(middle).view(np.float32), "right")
        low, high = (low, middle) if sum(up_to) >= count else (middle + 1, high)
    threshold = np.uint32(low).view(np.float32)
    counts, up_to = (_below(ascending, threshold, side) for side in ("left", "right"))
    left = count - sum(counts)
    for i, below in enumerate(counts):
        ties = min(left, up_to[i] - below)
        counts[i] += ties
        left -= ties
    return counts


def _below(ascending: Scores, threshold: np.float32, side: Literal["left", "right"]) -> list[int]:
    return [int(layer.searchsorted(threshold, side)) for layer in ascending]


def lamp_scores(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """LAMP scores of one layer, sorted ascending. Equal magnitudes count in the order of their positions.

    Args:
        magnitudes: (n,), |w| or w.

    Returns:
        (n,) in [0, 1], ascending; all zero for a layer of zeros.
    """
    bits = np.abs(magnitudes).view(np.uint32)
    spare = np.empty_like(bits)
    for shift in (0, _DIGIT, 2 * _DIGIT):
        _by_digit(bits, spare, shift)
        bits, spare = spare, bits
    scores = bits.view(np.float32)
    _to_lamp(scores, np.finfo(np.float32).tiny)  # zeros go before what is not
    return scores


@compiled
def _by_digit(source: NDArray[np.uint32], target: NDArray[np.uint32], shift: int) -> None:
    """One pass of a radix sort, several times faster than a sort by comparison; sizes are ordered as their bits are."""
    ends = np.zeros((1 << _DIGIT) + 1, np.int64)
    mask = (1 << _DIGIT) - 1
    for i in range(source.size):
        ends[((source[i] >> shift) & mask) + 1] += 1
    for digit in range(1, ends.size):
        ends[digit] += ends[digit - 1]
    for i in range(source.size):
        digit = (source[i] >> shift) & mask
        target[ends[digit]] = source[i]
        ends[digit] += 1


@compiled
def _to_lamp(ascending: NDArray[np.float32], least: np.float32) -> None:
    """Replace magnitudes by their scores; sums run from the largest down, in float64."""
    remaining = 0.0
    for i in range(ascending.size - 1, -1, -1):
        square = np.float64(ascending[i]) * np.float64(ascending[i])
        remaining += square
        if square > 0:
            ascending[i] = max(np.float32(square / remaining), least)


def erdos_renyi_kernel(shapes: Sequence[tuple[int, ...]], sparsity: float) -> list[int]:
    """Erdos-Renyi-Kernel densities (Evci et al. 2020, arXiv:1911.11134): small layers stay denser.

    density ~ (C_out + C_in + kH + kW) / (C_out C_in kH kW), scaled so that the total is right; a layer whose density
    would pass 1 stays dense and the others make up for it.

    Args:
        shapes: (C_out, C_in, kH, kW) per layer.
        sparsity: fraction of all weights to drop.
    """
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    kept_total = sum(sizes) - exact_count(sparsity, sum(sizes))
    dense: set[int] = set()
    while True:
        budget = kept_total - sum(sizes[i] for i in dense)
        share = sum(raw[i] * sizes[i] for i in range(len(sizes)) if i not in dense)
        scale = budget / share if share else 0.0
        full = {i for i in range(len(sizes)) if i not in dense and raw[i] * scale > 1}
        if not full:
            break
        dense |= full
    kept = [size if i in dense else raw[i] * scale * size for i, size in enumerate(sizes)]
    return [size - count for size, count in zip(sizes, _rounded_to_total(kept, kept_total), strict=True)]


def by_losses(curves: Sequence[LayerLosses], sparsity: float) -> list[int]:
    """The counts whose measured losses sum to the least, taken between the measured sparsities as straight lines.

    A layer's losses are first replaced by their lower convex hull, so that the next weights of a layer never cost less
    than those before; then the cheapest pieces of all layers, by loss per weight, are taken until the total is reached,
    pieces of one price in equal shares. For convex curves that is the optimum (Shoham and Gersho 1988,
    doi:10.1109/29.90373).

    Args:
        curves: one per layer, with its number of weights and its losses by sparsity; zero where nothing is pruned.
        sparsity: fraction of all weights to drop. Past the last measured sparsity a layer loses weights only once
            every layer has come to its own; then all lose the same share of what they have left.
    """
    total = exact_count(sparsity, sum(curve.weights for curve in curves))
    pieces = sorted(
        (slope, i, width * curve.weights)
        for i, curve in enumerate(curves)
        for width, slope in _hull(curve.points, curve.weights)
    )
    counts, left = [0.0] * len(curves), float(total)
    for _, group in groupby(pieces, key=lambda piece: piece[0]):
        tied = [(i, weights) for _, i, weights in group]
        size = sum(weights for _, weights in tied)
        share = min(1.0, left / size)
        for i, weights in tied:
            counts[i] += share * weights
        left -= share * size
    return _rounded_to_total(counts, total)


def _hull(points: Sequence[tuple[float, float]], weights: int) -> list[tuple[float, float]]:
    """Pieces (width in sparsity, loss per weight) of the lower convex hull from (0, 0) to sparsity 1.

    Args:
        points: (sparsity, loss), ascending, sparsities in (0, 1).
        weights: of the layer.
    """
    hull = [(0.0, 0.0)]
    for x, y in points:
        while len(hull) > 1 and _slope(hull[-1], (x, y)) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append((x, y))
    pieces = [(b[0] - a[0], _slope(a, b) / weights) for a, b in pairwise(hull)]
    return [*pieces, (1.0 - hull[-1][0], math.inf)]


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])


def _rounded_to_total(values: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to `total`: rounded down, the largest remainders up, earlier layers first."""
    counts = [math.floor(value) for value in values]
    by_remainder = sorted(range(len(values)), key=lambda i: (counts[i] - values[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts
