import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from compressor.modifiers.prune.patterns import n_of_m_mask

Scores = NDArray[np.float32]

TIED = (0.0, -0.0, 0.25, -0.25, 0.5, -2.0)  # as in weights stored as float16: ties everywhere; a sign means nothing


def plain(scores: Scores, shape: tuple[int, int, int, int], n: int, m: int) -> NDArray[np.bool_]:
    """Group by group: while more than N are kept, drop the smallest, the first of them."""
    grid = np.abs(scores).reshape(shape)
    keep = np.ones(shape, dtype=np.bool_)
    for filter_, row, column in np.ndindex(shape[0], shape[2], shape[3]):
        for first in range(0, shape[1], m):
            group = list(range(first, min(first + m, shape[1])))
            while len(group) > n:
                smallest = min(group, key=lambda channel: grid[filter_, channel, row, column])
                group.remove(smallest)
                keep[filter_, smallest, row, column] = False
    return keep.reshape(-1)


@given(st.data(), st.integers(2, 6), st.integers(1, 13))
def test_the_mask_is_that_of_a_plain_loop(data: st.DataObject, m: int, c_in: int) -> None:
    n = data.draw(st.integers(1, m - 1))
    shape = (2, c_in, data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)))
    seed = data.draw(st.integers(0, 2**31 - 1))
    scores = np.random.RandomState(seed).choice(TIED, int(np.prod(shape))).astype(np.float32)
    assert n_of_m_mask(scores, shape, n, m).tolist() == plain(scores, shape, n, m).tolist()


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([1, 1, 1, 1], [0, 0, 1, 1]),  # among equal scores the first channels are dropped first
        ([2, -1, 1, 1], [1, 0, 0, 1]),
        ([0, 0, 0, 0, 0], [0, 0, 1, 1, 1]),  # a last group of one or two keeps all, zeros too
        ([0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]),
        ([4, 3, 2, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1, 1]),  # and of three it drops one
    ],
)
def test_of_four_channels_two_are_kept(scores: list[float], kept: list[int]) -> None:
    mask = n_of_m_mask(np.array(scores, dtype=np.float32), (1, len(scores), 1, 1), n=2, m=4)
    assert mask.astype(int).tolist() == kept
