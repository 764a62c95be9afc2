"""Masks of patterns that do not come of one threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def n_of_m_mask(scores: NDArray[np.float32], shape: tuple[int, int, int, int], n: int, m: int) -> NDArray[np.bool_]:
    """Mask (True = keep) that keeps the N largest of every M scores along the input channels (arXiv:2104.08378).

    A group is M consecutive input channels of one filter at one kernel position. Where M does not divide C_in, the
    last group counts as filled up with zeros, as sparse kernels pad it: it keeps N, or all where it holds fewer.
    Among equal scores the first channels are dropped first.

    Args:
        scores: (numel,) in C order; compared by their size.
        shape: (C_out, C_in, kH, kW).
        n: how many of a group stay, in [1, m).
        m: size of a group.

    Returns:
        (numel,), at most `n` entries True in every group.
    """
    c_out, c_in, *kernel = shape
    padding = -c_in % m
    grid = np.abs(scores).reshape(c_out, c_in, *kernel)
    grid = np.pad(grid, ((0, 0), (0, padding), (0, 0), (0, 0)), constant_values=-1)  # goes before any score
    grouped = grid.reshape(c_out, (c_in + padding) // m, m, *kernel)
    order = np.argsort(grouped, axis=2, kind="stable")
    keep = np.ones(grouped.shape, dtype=np.bool_)
    np.put_along_axis(keep, order[:, :, : m - n], values=False, axis=2)
    return keep.reshape(grid.shape)[:, :c_in].reshape(-1)
