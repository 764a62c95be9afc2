"""Exact selection: the k smallest scores, ties broken by position, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def keep_mask(scores: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Mask (True = keep) that drops exactly `count` of the smallest scores.

    Among equal scores at the threshold the first positions are dropped first. Weights stored as float16 are full of
    such ties, so a mere comparison with a threshold would drop too many or too few.

    Args:
        scores: (n,), finite.
        count: how many to drop, in [0, n].

    Returns:
        (n,), exactly `count` entries False.
    """
    keep = np.ones(scores.shape, dtype=np.bool_)
    if count == 0:
        return keep
    threshold = np.partition(scores, count - 1)[count - 1]
    np.greater_equal(scores, threshold, out=keep)
    tied = np.flatnonzero(scores == threshold)
    below = scores.size - int(keep.sum())
    keep[tied[: count - below]] = False
    return keep


def exact_count(sparsity: float, weights: int) -> int:
    """round(sparsity x weights), half to even as Python and upstream round."""
    return round(sparsity * weights)
