import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compressor.modifiers.masks import keep_mask

# few distinct values, as in weights stored as float16: ties everywhere
TIED = arrays(np.float32, st.integers(1, 200), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]))


@given(TIED, st.data())
def test_drops_exactly_count_of_the_smallest_and_the_first_among_equals(
    scores: np.ndarray, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, scores.size))
    keep = keep_mask(scores, count)
    expected = np.argsort(scores, kind="stable")[:count]
    assert sorted(np.flatnonzero(~keep)) == sorted(expected)
