import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from compressor.modifiers.prune import selection
from compressor.modifiers.prune.selection import cut, cuts, drop, zeros_last

Scores = NDArray[np.float32]

# few distinct values, as in weights stored as float16: ties everywhere; a sign means nothing
TIED = arrays(np.float32, st.integers(1, 200), elements=st.sampled_from([0.0, -0.0, 0.25, -0.25, 0.5, 1.0, -2.0]))
ANY = arrays(np.float32, st.integers(1, 200), elements=st.floats(-(2.0**90), 2.0**90, width=32))
PARTS = st.lists(st.one_of(TIED, ANY), min_size=1, max_size=5)


def smallest(scores: Scores, count: int) -> list[int]:
    return sorted(np.argsort(np.abs(scores), kind="stable")[:count].tolist())


@given(PARTS, st.data())
def test_drops_exactly_count_of_the_smallest_and_the_first_among_equals(
    parts: list[Scores], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, sum(part.size for part in parts)))
    kept = np.concatenate([at.kept(part) for at, part in zip(cuts(parts, count), parts, strict=True)])
    assert np.flatnonzero(~kept).tolist() == smallest(np.concatenate(parts), count)


@pytest.mark.parametrize("most_extracted", [1, 64, 1 << 20])
@pytest.mark.parametrize("sample", [16, 1 << 10])
@pytest.mark.parametrize("kind", ["normal", "float16", "constant", "one large", "ascending", "mostly zero"])
def test_thresholds_are_exact_however_the_sample_misleads(
    monkeypatch: pytest.MonkeyPatch, most_extracted: int, sample: int, kind: str
) -> None:
    monkeypatch.setattr(selection, "_MOST_EXTRACTED", most_extracted)
    monkeypatch.setattr(selection, "_SAMPLE", sample)
    random = np.random.RandomState(0)
    n = 20_000
    scores = {
        "normal": random.standard_normal(n),
        "float16": random.standard_normal(n).astype(np.float16),
        "constant": np.full(n, 0.5),
        "one large": np.r_[np.zeros(n - 1), 3.0],
        "ascending": np.arange(n) ** 3,
        "mostly zero": random.standard_normal(n) * (random.random_sample(n) > 0.8),
    }[kind].astype(np.float32)
    for count in (0, 1, 7, n // 3, n // 2, n - 1, n):
        kept = cut(scores, count).kept(scores)
        assert np.flatnonzero(~kept).tolist() == smallest(scores, count)


@given(TIED, TIED, st.data())
def test_dropping_zeroes_what_goes_and_counts_it(scores: Scores, weights: Scores, data: st.DataObject) -> None:
    n = min(scores.size, weights.size)
    scores, weights = scores[:n].copy(), weights[:n].copy()
    at = cut(scores, data.draw(st.integers(0, n)))
    expected = np.where(at.kept(scores), weights, 0)
    zeros_before = int((weights == 0).sum())
    found = drop(weights, scores, at)
    np.testing.assert_array_equal(weights, expected)
    assert found.dropped == n - int(at.kept(scores).sum())
    assert (found.zeros_before, found.zeros_after) == (zeros_before, int((expected == 0).sum()))


@given(TIED, st.data())
def test_weights_may_be_their_own_scores(weights: Scores, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, weights.size))
    expected = weights.copy()
    expected[smallest(weights, count)] = 0
    at = cut(weights, count)
    assert drop(weights, weights, at).dropped == count
    np.testing.assert_array_equal(weights, expected)


def test_zeros_come_before_the_least_score_of_a_weight() -> None:
    scores = np.array([5, 0, 1], np.float32)
    zeros_last(scores, np.array([0, 2, 0], np.float32))
    assert scores[0] == scores[2] == 0 < scores[1]
