"""Exact selection of the smallest scores, over one layer or many, without sorting and without a copy of them.

Scores are compared by their size, so that weights themselves can be given for their magnitudes. A threshold is found by
counting: a sample brackets it, one pass counts what lies below and inside the bracket, one more takes out what lies
inside. Ties go by position, so the selection is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.jit import compiled

Scores = NDArray[np.float32]

_SAMPLE = 1 << 16
_DEVIATIONS = 5.0
_AROUND = 0.01
_MOST_EXTRACTED = 1 << 17  # scores, 512 kB
_BLOCK = 128
_INFINITY = np.float32(np.inf)


@dataclass(frozen=True)
class Cut:
    """Which scores of a layer go: all below the threshold, and the first `ties` of those that equal it."""

    threshold: np.float32
    ties: int

    def kept(self, scores: Scores) -> NDArray[np.bool_]:
        """Mask (True = keep) over scores of any shape."""
        sizes = np.abs(scores)
        keep: NDArray[np.bool_] = sizes >= self.threshold
        keep.reshape(-1)[np.flatnonzero(sizes == self.threshold)[: self.ties]] = False
        return keep


@dataclass(frozen=True)
class Dropped:
    """What dropping did to a layer, in weights."""

    dropped: int
    zeros_before: int
    zeros_after: int


NOTHING = Cut(np.float32(0), 0)


def cuts(parts: Sequence[Scores], count: int) -> list[Cut]:
    """One threshold over all parts, under which exactly `count` scores go; ties at it go by part, then position.

    Args:
        parts: (n_i,) each, finite.
        count: how many go, in [0, sum of n_i].
    """
    if count == 0:
        return [NOTHING] * len(parts)
    threshold = _threshold(parts, count)
    counted = [_count(part, threshold, threshold) for part in parts]
    left = count - sum(below for below, _ in counted)
    found = []
    for below, up_to in counted:
        ties = min(left, up_to - below)
        found.append(Cut(threshold, ties))
        left -= ties
    return found


def cut(scores: Scores, count: int) -> Cut:
    """The threshold of one layer; see `cuts`."""
    return cuts([scores], count)[0]


def _threshold(parts: Sequence[Scores], count: int) -> np.float32:
    """The `count`-th smallest score.

    The bracket is narrowed by two probes a pass, close to where the threshold should be if the scores inside were
    spread evenly; where they are not, at the middle of the floats inside.
    """
    low, high = np.float32(0), _INFINITY
    below, up_to = 0, sum(part.size for part in parts)
    first, last = _sampled_bracket(parts, count)
    while True:
        inside = up_to - below
        counted = [_count(part, first, last) for part in parts]
        below_first, up_to_last = (sum(column) for column in zip(*counted, strict=True))
        if count <= below_first:
            high, up_to = np.nextafter(first, np.float32(0)), below_first
        elif count > up_to_last:
            low, below = np.nextafter(last, _INFINITY), up_to_last
        else:
            low, high, below, up_to = first, last, below_first, up_to_last
        if low == high:
            return low
        if up_to - below <= _MOST_EXTRACTED:
            return _extracted(parts, low, high, up_to - below, count - below)
        spread_evenly = 2 * (up_to - below) <= inside and np.isfinite(high)
        first, last = _probes(low, high, (count - below) / (up_to - below)) if spread_evenly else _middle(low, high)


def _sampled_bracket(parts: Sequence[Scores], count: int) -> tuple[np.float32, np.float32]:
    """Scores of a sample between which the threshold almost surely lies."""
    total = sum(part.size for part in parts)
    stride = max(1, total // _SAMPLE)
    sample = np.sort(np.abs(np.concatenate([part[::stride] for part in parts])))
    place = sample.size * count / total
    margin = _DEVIATIONS * np.sqrt(place * (1 - count / total)) + 2
    first, last = int(place - margin), int(place + margin)
    return sample[first] if first >= 0 else np.float32(0), sample[last] if last < sample.size else _INFINITY


def _probes(low: np.float32, high: np.float32, fraction: float) -> tuple[np.float32, np.float32]:
    """Two values in [low, high], close around the fraction of the way."""
    width = float(high) - float(low)
    ends = (np.float32(low + width * (fraction + side * _AROUND)) for side in (-1, 1))
    first, last = (min(max(end, low), high) for end in ends)
    return first, last


def _middle(low: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
    """The float32 half-way in their order, twice; sizes of floats are ordered as their bits are."""
    first, last = (int(value.view(np.uint32)) for value in (low, high))
    middle = np.uint32((first + last) // 2).view(np.float32)
    return middle, middle


def _extracted(parts: Sequence[Scores], low: np.float32, high: np.float32, inside: int, rank: int) -> np.float32:
    """The `rank`-th smallest, from 1, of the scores in [low, high]."""
    found = np.empty(inside, np.float32)
    filled = 0
    for part in parts:
        filled = _extract(part, low, high, found, filled)
    threshold: np.float32 = np.partition(found, rank - 1)[rank - 1]
    return threshold


def drop(weights: Scores, scores: Scores, at: Cut) -> Dropped:
    """Zero the weights whose scores go, in place.

    Args:
        weights: (n,) contiguous.
        scores: (n,) of each weight; may be the weights themselves.
        at: which go.
    """
    return Dropped(*_drop(weights, scores, at.threshold, at.ties))


def zeros_last(scores: Scores, weights: Scores) -> None:
    """Give weights that are zero already a score below all others, in place: zeros go first, whatever the score."""
    _zeros_last(scores, weights, np.nextafter(np.float32(0), np.float32(1)))


@compiled
def _count(scores: Scores, low: np.float32, high: np.float32) -> tuple[int, int]:
    """How many are below `low`, and how many are at most `high`."""
    below = 0
    up_to = 0
    for i in range(scores.size):
        size = abs(scores[i])
        below += size < low
        up_to += size <= high
    return below, up_to


@compiled
def _extract(scores: Scores, low: np.float32, high: np.float32, inside: Scores, filled: int) -> int:
    """Append the scores in [low, high]; most blocks have none and are only counted."""
    for start in range(0, scores.size, _BLOCK):
        block = scores[start : start + _BLOCK]
        found = 0
        for i in range(block.size):
            size = abs(block[i])
            found += (size >= low) & (size <= high)
        if found:
            for i in range(block.size):
                size = abs(block[i])
                if (size >= low) & (size <= high):
                    inside[filled] = size
                    filled += 1
    return filled


@compiled
def _drop(weights: Scores, scores: Scores, threshold: np.float32, ties: int) -> tuple[int, int, int]:
    dropped = 0
    zeros_before = 0
    were_zero = 0
    nothing = np.float32(0)
    sizes = np.empty(_BLOCK, np.float32)  # apart from the weights, so that the loops over a block become vector code
    for start in range(0, weights.size, _BLOCK):
        block, of_block = weights[start : start + _BLOCK], scores[start : start + _BLOCK]
        for i in range(block.size):
            sizes[i] = abs(of_block[i])
        tied = 0
        for i in range(block.size):
            weight = block[i]
            goes, zero = sizes[i] < threshold, weight == nothing
            tied += sizes[i] == threshold
            dropped += goes
            zeros_before += zero
            were_zero += goes & zero
            block[i] = nothing if goes else weight
        if tied and ties:
            for i in range(block.size):
                if sizes[i] == threshold and ties:
                    were_zero += block[i] == nothing
                    block[i] = nothing
                    dropped += 1
                    ties -= 1
    return dropped, zeros_before, zeros_before + dropped - were_zero


@compiled
def _zeros_last(scores: Scores, weights: Scores, above_zero: np.float32) -> None:
    nothing = np.float32(0)
    for i in range(scores.size):
        if weights[i] == nothing:
            scores[i] = nothing
        elif scores[i] < above_zero:
            scores[i] = above_zero
