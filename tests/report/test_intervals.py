from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.report.intervals import LEAST_IMAGES, interval_sentence, paired, quantile, slowdown
from compressor.results.evaluation import Resampled
from compressor.results.run import Timing
from tests.report.made_up import drawn, evaluation

DRAWS = np.random.RandomState(0).rand(2, 400)


def test_interval_is_that_of_the_paired_differences() -> None:
    a, b = (
        replace(evaluation(0.4), resampled=Resampled(40, 0, tuple(map(float, draws)), tuple(map(float, draws))))
        for draws in DRAWS
    )
    found = paired(a, b, "AP")
    assert found is not None
    assert (found.low, found.high) == pytest.approx(np.quantile(DRAWS[1] - DRAWS[0], (0.025, 0.975)))
    for other in (
        replace(b, resampled=None),
        replace(b, data=replace(b.data, sha256="0" * 64)),
        replace(b, resampled=Resampled(40, 1, tuple(map(float, DRAWS[1])), ())),
        replace(b, resampled=Resampled(40, 0, (None,) * 400, (None,) * 400)),
    ):
        assert paired(a, other, "AP") is None
    nothing = replace(a, resampled=Resampled(40, 0, (0.0,) * 400, (0.0,) * 400))
    assert paired(nothing, nothing, "AP") is None
    assert paired(nothing, b, "AP") is not None


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("images", [1, LEAST_IMAGES - 1, LEAST_IMAGES])
def test_too_few_images_with_objects_have_no_interval_and_say_so(images: int, expected: bool) -> None:
    """What earlier versions wrote tells the images without objects alone."""
    known = drawn(evaluation(0.4), 0.0)
    data = replace(known.data, images=40, backgrounds=40 - images)
    if expected:
        data = replace(data, backgrounds=0, with_objects=images)
    a = replace(known, data=data)
    b = replace(drawn(evaluation(0.4), 0.1), data=a.data)
    enough = images >= LEAST_IMAGES
    assert (paired(a, b, "AP") is not None) == (paired(a, b, "AP50") is not None) == enough
    sentence = interval_sentence(a, b)
    assert sentence.startswith(
        "The interval comes from a paired bootstrap" if enough else f"No interval is given: {images} image"
    )
    assert interval_sentence(None, b) == interval_sentence(replace(a, resampled=None), b) == ""


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_quantile_is_numpys(values: list[float], below: float) -> None:
    assert quantile(sorted(values), below) == pytest.approx(np.quantile(values, below), rel=1e-9, abs=1e-6)


def test_slowdown_compares_the_times_of_each_turn() -> None:
    before = tuple(float(10 + 5 * i) for i in range(31))
    found = slowdown(Timing(640, before, tuple(0.5 * ms for ms in before)))
    assert found is not None
    assert (found[0], found[1].low, found[1].high) == pytest.approx((0.5, 0.5, 0.5))
    shaken = tuple(ms * (0.9 if i % 2 else 1.1) for i, ms in enumerate(before))
    around = slowdown(Timing(640, before, shaken))
    assert around is not None
    assert around[1].low < 1 < around[1].high
    assert slowdown(Timing(640, before[:5], before[:5])) is None


def test_the_interval_of_a_slowdown_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.RandomState(0)
    held = 0
    for _ in range(300):
        before = random.uniform(10, 11, 20)
        after = 0.8 * before * random.lognormal(0, 0.05, 20)
        found = slowdown(Timing(640, tuple(before.tolist()), tuple(after.tolist())))
        assert found is not None
        held += found[1].low <= 0.8 <= found[1].high
    assert 0.93 <= held / 300 <= 1
