"""Exact selection: the smallest scores, ties broken by position, the same on every machine."""

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


def n_of_m_mask(scores: NDArray[np.float32], shape: tuple[int, int, int, int], n: int, m: int) -> NDArray[np.bool_]:
    """Mask (True = keep) that keeps the N largest of every M scores along the input channels (arXiv:2104.08378).

    A group is M consecutive input channels of one filter at one kernel position. Where M does not divide C_in, the
    last group counts as filled up with zeros, as sparse kernels pad it: it keeps N, or all where it holds fewer.
    Among equal scores the first channels are dropped first.

    Args:
        scores: (numel,) in C order, at least 0.
        shape: (C_out, C_in, kH, kW).
        n: how many of a group stay, in [1, m).
        m: size of a group.

    Returns:
        (numel,), at most `n` entries True in every group.
    """
    c_out, c_in, *kernel = shape
    padding = -c_in % m
    grid = scores.reshape(c_out, c_in, *kernel)
    grid = np.pad(grid, ((0, 0), (0, padding), (0, 0), (0, 0)), constant_values=-1)  # goes before any score
    grouped = grid.reshape(c_out, (c_in + padding) // m, m, *kernel)
    order = np.argsort(grouped, axis=2, kind="stable")
    keep = np.ones(grouped.shape, dtype=np.bool_)
    np.put_along_axis(keep, order[:, :, : m - n], values=False, axis=2)
    return keep.reshape(grid.shape)[:, :c_in].reshape(-1)
