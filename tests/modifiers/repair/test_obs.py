import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from compressor.modifiers.repair.least_squares import Moments, solve
from compressor.modifiers.repair.obs import Groups, choose

SHAPE = (5, 6, 3, 3)
DAMPING = 0.01


def layer(seed: int, shape: tuple[int, ...] = SHAPE, zeros: float = 0.0) -> tuple[Moments, Tensor]:
    """What a layer sees whose inputs differ in size and resemble their neighbours; its dense weights (C_out, K + 1)."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(shape[0], math.prod(shape[1:]) + 1, generator=generator, dtype=torch.float64)
    dense[:, :-1] *= torch.rand(dense[:, :-1].shape, generator=generator) >= zeros
    place = torch.arange(dense.shape[1] - 1)
    alike = 0.5 ** (place[:, None] - place[None]).abs().double()
    x = torch.linalg.cholesky(alike) @ torch.randn(len(place), 400, generator=generator, dtype=torch.float64)
    x *= torch.exp(0.5 * torch.randn(len(place), 1, generator=generator, dtype=torch.float64))
    x = torch.cat((x + 0.5, torch.ones(1, 400, dtype=torch.float64)))
    return Moments(x @ x.T / 400, dense @ x @ x.T / 400), dense


def by_magnitude(
    dense: Tensor, shape: tuple[int, ...], n_of_m: tuple[int, int] | None, sparsity: float = 0.6
) -> Tensor:
    """A mask of the pattern, or with other numbers of zeros in every filter."""
    weight = dense[:, :-1].view(shape).abs()
    if n_of_m is None:
        threshold = weight.flatten().sort().values[int(sparsity * weight.numel())]
        return (weight >= threshold) & (weight > 0)
    keep = torch.zeros(shape, dtype=torch.bool)
    n, m = n_of_m
    for start in range(0, shape[1], m):
        group = weight[:, start : start + m]
        best = group.argsort(dim=1, descending=True)[:, :n]
        keep[:, start : start + m] = torch.zeros_like(group, dtype=torch.bool).scatter(1, best, True)
    return keep & (weight > 0)


def error(found: Moments, dense: Tensor, keep: Tensor) -> Tensor:
    """Mean squared output error of every filter after its kept weights are solved."""
    free = torch.cat((keep.flatten(1), torch.ones(len(keep), 1, dtype=torch.bool)), dim=1)
    lost = solve(found, dense * free, free, DAMPING) - dense
    return ((lost @ found.inputs) * lost).sum(dim=1)


def group_zeros(keep: Tensor, m: int) -> list[list[int]]:
    return [(~keep[:, start : start + m]).sum(dim=1).flatten().tolist() for start in range(0, keep.shape[1], m)]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([None, (2, 4), (1, 4), (3, 5), (1, 2)]), st.sampled_from([0.0, 0.3]))
def test_zeros_stay_as_many_and_none_of_the_dense_ones_comes_to_life(
    seed: int, n_of_m: tuple[int, int] | None, zeros: float
) -> None:
    found, dense = layer(seed, SHAPE, zeros)
    keep = by_magnitude(dense, SHAPE, n_of_m)
    chosen = choose(found, dense.clone(), keep, n_of_m and n_of_m[1], DAMPING)
    assert chosen.shape == SHAPE
    m = n_of_m[1] if n_of_m else SHAPE[1]
    if n_of_m is None:
        assert torch.equal(chosen.flatten(1).sum(dim=1), keep.flatten(1).sum(dim=1))
    else:
        assert group_zeros(chosen, m) == group_zeros(keep, m)
    assert not bool((chosen & (dense[:, :-1].view(SHAPE) == 0)).any())


@pytest.mark.parametrize("n_of_m", [None, (2, 4)])
def test_the_choice_is_better_than_magnitude(n_of_m: tuple[int, int] | None) -> None:
    for seed in range(4):
        found, dense = layer(seed)
        keep = by_magnitude(dense, SHAPE, n_of_m)
        ours = error(found, dense, choose(found, dense, keep, n_of_m and n_of_m[1], DAMPING)).sum()
        assert float(ours) < 0.65 * float(error(found, dense, keep).sum())


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    shape = (1, 8, 1, 1)
    found, dense = layer(seed, shape)
    keep = by_magnitude(dense, shape, None, 0.5)
    masks = [
        torch.tensor([i in kept for i in range(8)]).view(shape)
        for kept in itertools.combinations(range(8), int(keep.sum()))
    ]
    least = min(float(error(found, dense, mask)) for mask in masks)
    ours = float(error(found, dense, choose(found, dense, keep, None, DAMPING)))
    assert ours == pytest.approx(least)


@pytest.mark.parametrize("inputs", [0.0, 3.0])
def test_inputs_that_never_vary_are_no_obstacle(inputs: float) -> None:
    """As behind a layer that is wholly pruned; in float32 their covariance is noise of either sign."""
    dense = layer(0)[1]
    x = torch.full((dense.shape[1], 300), inputs)
    x[:-1] *= 1 + 0.1 * torch.arange(dense.shape[1] - 1)[:, None]
    x[-1] = 1.0
    second = (x @ x.T).double() / 300
    keep = by_magnitude(dense, SHAPE, None)
    chosen = choose(Moments(second, dense @ second), dense, keep, None, 1e-6)
    assert torch.equal(chosen.flatten(1).sum(dim=1), keep.flatten(1).sum(dim=1))


def test_a_large_input_whose_variance_is_lost_to_rounding_decides_nothing() -> None:
    """The mean of its square can come out below the square of its mean; no mask may go by position then."""
    found, dense = layer(1)
    inputs, outputs = found.inputs.clone(), found.outputs.clone()
    inputs[0, :], inputs[:, 0] = 400 * inputs[-1, :], 400 * inputs[:, -1]
    inputs[0, 0] = 400.0**2 * (1 - 1e-2)
    outputs[:, 0] = 400 * outputs[:, -1]
    keep = by_magnitude(dense, SHAPE, None)
    chosen = choose(Moments(inputs, outputs), dense, keep, None, 1e-9).flatten(1)
    assert torch.equal(chosen.sum(dim=1), keep.flatten(1).sum(dim=1))
    by_position = torch.arange(chosen.shape[1]) >= (~chosen).sum(dim=1, keepdim=True)
    assert not bool((chosen == by_position).all(dim=1).any())


def test_groups_lie_along_the_input_channels() -> None:
    keep = torch.ones(1, 5, 1, 2, dtype=torch.bool)
    keep[0, 1, 0, 0] = keep[0, 4, 0, 1] = False
    groups = Groups(keep, 4)
    assert groups.zeros().tolist() == [[1, 0, 0, 1]]  # position by position, each of two groups
    cost = torch.arange(10.0).view(1, 10)
    kept = groups.without_cheapest(cost, groups.zeros()).view(5, 2)
    assert (~kept).nonzero().tolist() == [[0, 0], [4, 1]]
    assert Groups(keep, None).zeros().tolist() == [[2]]
    flat = Groups(keep, None).without_cheapest(torch.zeros(1, 10), torch.tensor([[3]]))
    assert flat[0].tolist() == [False] * 3 + [True] * 7
