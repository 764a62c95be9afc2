"""How a sparsity is shared out over layers: from one fraction to a whole number of weights per layer.

Every function takes the layers' scores or shapes in model order and returns how many weights each layer loses.
The counts of `across_layers`, `lamp` and `erdos_renyi_kernel` sum to exactly round(sparsity x all weights).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressor.modifiers.masks import keep_mask
from compressor.plan.targets import exact_count

Scores = Sequence[NDArray[np.float32]]


def uniform(sizes: Sequence[int], sparsity: float) -> list[int]:
    """The same sparsity in every layer: round(sparsity x weights) each, as upstream's `prune()`."""
    return [exact_count(sparsity, size) for size in sizes]


def across_layers(scores: Scores, sparsity: float) -> list[int]:
    """One threshold over all layers; ties at it go by layer order, then position."""
    everything = np.concatenate(scores)
    dropped = ~keep_mask(everything, exact_count(sparsity, everything.size))
    return _per_layer(dropped, scores)


def lamp(scores: Scores, sparsity: float) -> list[int]:
    """One threshold over LAMP scores: layer-adaptive magnitude (Lee et al. 2021, arXiv:2010.07611).

    LAMP(u) = w_u^2 / sum of w_v^2 over all v of the layer with |w_v| >= |w_u|. The order inside a layer stays that of
    the magnitudes, and a layer's largest weight, of score 1, is among the last to go.
    """
    return across_layers([lamp_scores(layer) for layer in scores], sparsity)


def lamp_scores(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """LAMP scores of one layer, sorted ascending. Equal magnitudes count in the order of their positions.

    Args:
        magnitudes: (n,), |w|.

    Returns:
        (n,) in [0, 1], ascending; all zero for a layer of zeros.
    """
    squares = np.sort(magnitudes).astype(np.float64) ** 2
    remaining = np.cumsum(squares[::-1])[::-1]
    scores = np.divide(squares, remaining, out=np.zeros_like(squares), where=remaining > 0)
    return scores.astype(np.float32)


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


def _rounded_to_total(values: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to `total`: rounded down, the largest remainders up, earlier layers first."""
    counts = [math.floor(value) for value in values]
    by_remainder = sorted(range(len(values)), key=lambda i: (counts[i] - values[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _per_layer(dropped: NDArray[np.bool_], scores: Scores) -> list[int]:
    ends = np.cumsum([layer.size for layer in scores])
    return [int(part.sum()) for part in np.split(dropped, ends[:-1])]
