import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.modifiers.allocation import across_layers, erdos_renyi_kernel, lamp, lamp_scores, uniform

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
    for allocate in (lamp, across_layers):
        counts = allocate(scores, sparsity)
        assert sum(counts) == round(sparsity * sum(sizes))
        assert all(count <= size for count, size in zip(counts, sizes, strict=True))


def test_lamp_scores_are_those_of_the_paper() -> None:
    # sorted squares 1, 4, 9: 1/14, 4/13, 9/9
    assert lamp_scores(np.array([3, 1, 2], np.float32)) == pytest.approx([1 / 14, 4 / 13, 1.0])


def test_lamp_never_empties_a_layer_that_global_empties() -> None:
    scores = [np.full(10, 0.01, np.float32), np.linspace(1, 2, 90).astype(np.float32)]
    assert across_layers(scores, 0.1)[0] == 10
    assert lamp(scores, 0.1)[0] < 10


def test_uniform_rounds_in_every_layer() -> None:
    assert uniform([10, 5, 1], 0.3) == [3, 2, 0]
