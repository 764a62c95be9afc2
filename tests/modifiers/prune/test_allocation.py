import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.modifiers.prune.allocation import by_losses, erdos_renyi_kernel, lamp, lamp_scores, uniform
from compressor.modifiers.prune.selection import cuts
from compressor.results.sensitivity import LayerLosses

SHAPES = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 6]), st.sampled_from([1, 3, 6])),
    min_size=1,
    max_size=8,
)
SPARSITIES = st.floats(0.01, 0.99)


@given(SHAPES, SPARSITIES)
def test_erk_drops_exactly_the_total_and_never_more_than_a_layer_holds(
    shapes: list[tuple[int, ...]], sparsity: float
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    counts = erdos_renyi_kernel(shapes, sparsity)
    assert sum(counts) == round(sparsity * sum(sizes))
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))


def test_erk_densities_follow_the_formula() -> None:
    shapes = [(64, 64, 3, 3), (128, 128, 3, 3)]
    counts = erdos_renyi_kernel(shapes, 0.8)
    densities = [1 - count / math.prod(shape) for count, shape in zip(counts, shapes, strict=True)]
    raw = [sum(shape) / math.prod(shape) for shape in shapes]
    assert densities[0] / densities[1] == pytest.approx(raw[0] / raw[1], rel=1e-3)


def test_erk_keeps_a_layer_dense_when_its_density_would_pass_one() -> None:
    assert erdos_renyi_kernel([(4, 1, 1, 1), (64, 64, 3, 3)], 0.3)[0] == 0


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), SPARSITIES, st.integers(0, 1000))
def test_lamp_and_global_drop_exactly_the_total(sizes: list[int], sparsity: float, seed: int) -> None:
    random = np.random.RandomState(seed)
    scores = [random.random_sample(size).astype(np.float32).round(1) for size in sizes]
    total = round(sparsity * sum(sizes))
    by_threshold = [int((~at.kept(layer)).sum()) for at, layer in zip(cuts(scores, total), scores, strict=True)]
    for counts in (lamp(scores, sparsity), by_threshold):
        assert sum(counts) == total
        assert all(count <= size for count, size in zip(counts, sizes, strict=True))


def test_lamp_scores_are_those_of_the_paper() -> None:
    # sorted squares 1, 4, 9: 1/14, 4/13, 9/9
    assert lamp_scores(np.array([3, 1, 2], np.float32)) == pytest.approx([1 / 14, 4 / 13, 1.0])


@given(st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=300))
def test_lamp_scores_are_those_of_sorted_magnitudes(weights: list[float]) -> None:
    squares = np.sort(np.abs(np.array(weights, np.float32))).astype(np.float64) ** 2
    remaining = np.cumsum(squares[::-1])[::-1]
    expected = np.divide(squares, remaining, out=np.zeros_like(squares), where=remaining > 0).astype(np.float32)
    expected[squares > 0] = expected[squares > 0].clip(min=np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(lamp_scores(np.array(weights, np.float32)), expected)


def test_lamp_never_empties_a_layer_that_global_empties() -> None:
    scores = [np.full(10, 0.01, np.float32), np.linspace(1, 2, 90).astype(np.float32)]
    assert not cuts(scores, 10)[0].kept(scores[0]).any()
    assert lamp(scores, 0.1)[0] < 10


def test_uniform_rounds_in_every_layer() -> None:
    assert uniform([10, 5, 1], 0.3) == [3, 2, 0]


def curve(weights: int, *points: tuple[float, float]) -> LayerLosses:
    return LayerLosses("x", "neck", weights, points)


CURVES = st.lists(
    st.builds(
        lambda weights, losses: curve(weights, *(((i + 1) / (len(losses) + 1), y) for i, y in enumerate(losses))),
        st.integers(1, 500),
        st.lists(st.floats(-1, 10), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=7,
)


@given(CURVES, SPARSITIES)
def test_losses_drop_exactly_the_total_and_never_more_than_a_layer_holds(
    curves: list[LayerLosses], sparsity: float
) -> None:
    counts = by_losses(curves, sparsity)
    assert sum(counts) == round(sparsity * sum(each.weights for each in curves))
    assert all(0 <= count <= each.weights for count, each in zip(counts, curves, strict=True))


@given(CURVES, SPARSITIES, SPARSITIES)
def test_a_higher_sparsity_takes_no_less_of_any_layer(curves: list[LayerLosses], one: float, other: float) -> None:
    less, more = (by_losses(curves, sparsity) for sparsity in sorted((one, other)))
    assert all(a <= b + 1 for a, b in zip(less, more, strict=True))  # rounding to the total may move one


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_losses_of_convex_curves_sum_to_the_least(steps: list[list[int]], data: st.DataObject) -> None:
    """`steps` are what each further weight of a layer costs; all combinations are tried."""
    losses = [[0, *itertools.accumulate(sorted(layer))] for layer in steps]
    curves = [curve(len(layer), *((i / len(layer), float(layer[i])) for i in range(1, len(layer)))) for layer in losses]
    weights = sum(each.weights for each in curves)
    total = data.draw(st.integers(0, sum(len(layer) - 1 for layer in losses)))
    found = by_losses(curves, total / weights)

    def loss(counts: Sequence[int]) -> int:
        return sum(layer[count] for layer, count in zip(losses, counts, strict=True))

    ranges = (range(len(layer)) for layer in losses)
    assert sum(found) == total
    assert loss(found) == min(loss(counts) for counts in itertools.product(*ranges) if sum(counts) == total)


@given(st.integers(2, 6), st.integers(1, 300), st.lists(st.floats(-1, 9), min_size=1, max_size=5), SPARSITIES)
def test_layers_of_equal_losses_get_equal_sparsities(n: int, weights: int, losses: list[float], amount: float) -> None:
    points = [((i + 1) / (len(losses) + 1), loss) for i, loss in enumerate(losses)]
    counts = by_losses([curve(weights, *points)] * n, amount)
    assert max(counts) - min(counts) <= 1


def test_the_sensitive_layer_keeps_more() -> None:
    dear, cheap = curve(100, (0.5, 4.0), (0.9, 16.0)), curve(100, (0.5, 1.0), (0.9, 4.0))
    assert by_losses([dear, cheap], 0.25) == [0, 50]
    assert by_losses([dear, cheap], 0.45) == [0, 90]
    assert by_losses([dear, cheap], 0.6) == [30, 90]


def test_a_loss_is_told_per_weight() -> None:
    assert by_losses([curve(10, (0.5, 1.0)), curve(1000, (0.5, 2.0))], 0.4) == [0, 404]


def test_a_hump_in_a_curve_is_bridged() -> None:
    humped, straight = curve(100, (0.3, 6.0), (0.6, 1.2)), curve(100, (0.9, 9.0))
    assert by_losses([humped, straight], 0.1) == [20, 0]
    assert by_losses([humped, straight], 0.4) == [60, 20]


def test_past_the_last_measured_sparsity_every_layer_loses_the_same_share_of_the_rest() -> None:
    curves = [curve(100, (0.5, 1.0)), curve(100, (0.8, 9.0)), curve(200, (0.6, 2.0))]
    assert by_losses(curves, 0.625) == [50, 80, 120]
    assert by_losses(curves, 0.8125) == [75, 90, 160]
    assert all(count < each.weights for count, each in zip(by_losses(curves, 0.95), curves, strict=True))


def test_lamp_takes_zeros_before_weights_so_small_that_their_scores_vanish() -> None:
    tiny, zeros = np.full(50, 1e-30, dtype=np.float32), np.zeros(20, dtype=np.float32)
    large = np.ones(30, dtype=np.float32)
    assert lamp([np.concatenate((tiny, large)), np.concatenate((zeros, large))], 20 / 130) == [0, 20]
