"""Confidence intervals of differences, from figures on the same draws or from times in turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compressor.results.alike import alike
from compressor.results.evaluation import Evaluation, Resampled
from compressor.results.run import Timing

LEAST_IMAGES = 20  # with objects: with fewer an interval is too narrow (benchmarks/interval_coverage.py)
_LEVEL = 0.95
_NORMAL = 1.96  # standard deviations of a normal distribution within which 95 % lie
_NOTICED = 0.02  # a smaller difference of times is within the machine's own noise
_FEWEST_TURNS = 6  # with fewer the median has no 95 % interval

Verdict = Literal["faster", "slower", "within noise"]


@dataclass(frozen=True)
class Interval:
    """The ends of a 95 % confidence interval."""

    low: float
    high: float


def paired(a: Evaluation | None, b: Evaluation | None, name: str) -> Interval | None:
    """The interval of b's figure minus a's, by the paired bootstrap over images (Efron 1979).

    Args:
        a: the base.
        b: the evaluation to compare with it.
        name: `AP` or `AP50`.

    Returns:
        None if the two were not measured alike or not on the same draws, if too few images hold objects, or if neither
        model finds anything.
    """
    if a is None or b is None or a.resampled is None or b.resampled is None or not alike(a, b):
        return None
    if too_few_images(a, b):
        return None
    old, new = _drawn(a.resampled, name), _drawn(b.resampled, name)
    if (a.resampled.images, a.resampled.seed, len(old)) != (b.resampled.images, b.resampled.seed, len(new)):
        return None
    changes = sorted(y - x for x, y in zip(old, new, strict=True) if x is not None and y is not None)
    if not changes or not (any(old) or any(new)):  # two models that find nothing have no interval
        return None
    return Interval(quantile(changes, (1 - _LEVEL) / 2), quantile(changes, (1 + _LEVEL) / 2))


def interval_sentence(before: Evaluation | None, after: Evaluation | None) -> str:
    """How the intervals of a report were made, or why there are none; empty if the report has no place for one."""
    if before is None or after is None or before.resampled is None:
        return ""
    few = too_few_images(before, after)
    if few:
        return few
    if paired(before, after, "AP") is None and paired(before, after, "AP50") is None:
        return ""
    return (
        f"The interval comes from a paired bootstrap: {len(before.resampled.AP):,} draws of the images, the same for "
        "both models."
    )


def too_few_images(before: Evaluation, after: Evaluation) -> str:
    """Why there is no interval if too few images hold objects; else empty."""
    images = min(each.data.images_with_objects for each in (before, after))
    if images >= LEAST_IMAGES:
        return ""
    return (
        f"No interval is given: {images} image{'s' * (images != 1)} with objects are fewer than {LEAST_IMAGES}, and "
        "with so few a 95 % interval contains the true value far less often."
    )


def _drawn(resampled: Resampled, name: str) -> tuple[float | None, ...]:
    return resampled.AP if name == "AP" else resampled.AP50


def slowdown(timing: Timing) -> tuple[float, Interval] | None:
    """Time of inference after divided by that before, with its interval; see `ratio_of_turns`."""
    return ratio_of_turns(timing.before_ms, timing.after_ms)


def ratio_of_turns(first: Sequence[float], second: Sequence[float]) -> tuple[float, Interval] | None:
    """Time of the second divided by that of the first: the median over turns, and its interval by the sign test.

    Args:
        first: times of the first network, one per turn.
        second: times of the second network in the same turns.

    Returns:
        None if there are too few turns.
    """
    ratios = sorted(new / old for old, new in zip(first, second, strict=True) if old > 0)
    if len(ratios) < _FEWEST_TURNS:
        return None
    reach = _NORMAL * math.sqrt(len(ratios)) / 2
    low = max(0, math.floor((len(ratios) - 1) / 2 - reach))
    return quantile(ratios, 0.5), Interval(ratios[low], ratios[len(ratios) - 1 - low])


def verdict_of(interval: Interval) -> Verdict:
    """What an interval of a ratio of times allows to conclude."""
    if interval.high < 1 - _NOTICED:
        return "faster"
    return "slower" if interval.low > 1 + _NOTICED else "within noise"


def quantile(ordered: Sequence[float], below: float) -> float:
    """A quantile of ascending values, linear between the two nearest as NumPy computes it."""
    place = below * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))
