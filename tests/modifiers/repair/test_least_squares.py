import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import unfold

from compressor.modifiers.repair.least_squares import Moments, draw, moments, patches, solve


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (6, 2, 2), (3, 3, 0)])
def test_patches_are_the_columns_of_unfold(kernel: int, stride: int, padding: int) -> None:
    check_patches(nn.Conv2d(3, 4, kernel, stride, padding))


def test_patches_of_a_kernel_that_is_no_square() -> None:
    check_patches(nn.Conv2d(2, 4, (3, 5), (2, 1), (1, 2)))


def check_patches(conv: nn.Conv2d) -> None:
    image = torch.randn(conv.in_channels, 12, 17, generator=seeded(0))
    output = conv(image[None])[0]
    padding = tuple(int(each) for each in conv.padding)
    columns = unfold(image[None], conv.kernel_size, padding=padding, stride=conv.stride)[0]
    where = torch.randint(output[0].numel(), (40,), generator=seeded(1))
    found = patches(conv, image, where // output.shape[2], where % output.shape[2])
    assert torch.equal(found, columns[:, where])
    assert conv.bias is not None
    given = conv.weight.flatten(1) @ found + conv.bias[:, None]
    torch.testing.assert_close(given, output.flatten(1)[:, where], atol=1e-5, rtol=1e-5)


def test_positions_are_drawn_mostly_where_objects_are_and_else_evenly() -> None:
    seen = torch.full((4, 4), 1e-6)
    seen[1, 2] = 1.0
    generator = seeded(0)
    drawn, weights = zip(*(draw(seen, (8, 8), 50, generator) for _ in range(2000)), strict=True)
    assert all(torch.equal(each, torch.full((50,), 1 / 50)) for each in weights)
    counts = torch.bincount(torch.cat(drawn), minlength=64).view(8, 8) / 100_000
    object_cells = counts[2:4, 4:6]
    evenly = 0.2
    assert float(object_cells.sum()) == pytest.approx(1 - evenly * 60 / 64, abs=0.01)
    everywhere, chances = draw(seen, (8, 8), 64, generator)
    assert torch.equal(everywhere, torch.arange(64))
    assert float(chances.sum()) == pytest.approx(1)
    torch.testing.assert_close(chances.view(8, 8)[2:4, 4:6], object_cells, atol=0.01, rtol=0)
    rest = counts.clone()
    rest[2:4, 4:6] = evenly / 64
    torch.testing.assert_close(rest, torch.full((8, 8), evenly / 64), atol=0.001, rtol=0)


def test_the_same_seed_draws_the_same_positions() -> None:
    seen = torch.rand(5, 7, generator=seeded(0)) + 0.01
    drawn = [draw(seen, (10, 14), 50, seeded(seed))[0].tolist() for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("positions", [64, 10_000])
def test_moments_are_means_over_what_was_drawn(positions: int) -> None:
    conv = nn.Conv2d(3, 5, 3, 2, 1)
    inputs, wanted = torch.randn(4, 3, 9, 11, generator=seeded(2)), torch.randn(4, 5, 5, 6, generator=seeded(3))
    seen = torch.rand(4, 3, 3, generator=seeded(4)) + 0.1
    found = moments(conv, inputs, wanted, seen, positions, seeded(1))
    generator = seeded(1)
    columns, shares = [], []
    for image, target, chances in zip(inputs, wanted, seen, strict=True):
        where, weights = draw(chances, (5, 6), positions // 4, generator)
        x = unfold(image[None], 3, padding=1, stride=2)[0][:, where]
        columns.append(torch.cat((x, torch.ones(1, len(where)), target.flatten(1)[:, where])).double())
        shares.append(weights.double() / len(inputs))
    together, share = torch.cat(columns, dim=1), torch.cat(shares)
    x, y = together[:28], together[28:]
    torch.testing.assert_close(found.inputs, (x * share) @ x.T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.outputs, (y * share) @ x.T, atol=1e-5, rtol=1e-4)
    mean = (x[:-1] * share).sum(dim=1, keepdim=True)
    covariance = ((x[:-1] - mean) * share) @ (x[:-1] - mean).T
    torch.testing.assert_close(found.covariance(), covariance, atol=1e-4, rtol=1e-4)


def problem(seed: int, filters: int = 6, inputs: int = 9, positions: int = 60) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs (K + 1, n) that hang together, outputs (C_out, n), start and mask (C_out, K + 1), with the bias last."""
    random = np.random.RandomState(seed)
    x = random.randn(inputs, inputs) @ random.randn(inputs, positions) + random.randn(inputs, 1)
    dense = random.randn(filters, inputs + 1)
    x = np.vstack([x, np.ones(positions)])
    y = dense @ x + 0.1 * random.randn(filters, positions)
    keep = random.random_sample(dense.shape) < 0.6
    keep[:, -1] = True
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(dense * keep), torch.from_numpy(keep)


def of(x: Tensor, y: Tensor) -> Moments:
    return Moments(x @ x.T / x.shape[1], y @ x.T / x.shape[1])


def by_lstsq(x: Tensor, y: Tensor, start: Tensor, keep: Tensor, damping: float) -> np.ndarray:
    """The ridge problem of every filter written out as rows of one system."""
    n = x.shape[1]
    ridge = damping * float((x[:-1] ** 2).mean())
    pull = np.sqrt(ridge) * np.eye(len(x))
    pull[-1] = 0.0  # the bias is free
    solved = np.zeros(start.shape)
    for row, (w0, kept) in enumerate(zip(start.numpy(), keep.numpy(), strict=True)):
        system = np.vstack([x.numpy().T / np.sqrt(n), pull])[:, kept]
        right = np.concatenate([y[row].numpy() / np.sqrt(n), pull @ (w0 * kept)])
        solved[row, kept] = np.linalg.lstsq(system, right, rcond=None)[0]
    return solved


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 0.01, 0.3]))
def test_solves_the_ridge_problem_of_every_filter_within_its_mask(seed: int, damping: float) -> None:
    x, y, start, keep = problem(seed)
    keep[0, :-1] = False  # a filter without any weight: its bias is the mean
    keep[1] = True
    found = solve(of(x, y), start, keep, damping)
    assert bool((found[~keep] == 0).all())
    np.testing.assert_allclose(found.numpy(), by_lstsq(x, y, start, keep, damping), atol=2e-4, rtol=1e-3)
    assert float(found[0, -1]) == pytest.approx(float(y[0].mean()), rel=1e-4)


def test_weights_whose_inputs_are_all_dead_stay_and_the_rest_is_solved() -> None:
    x, y, start, keep = problem(0)
    x[2] = 0.0
    found = solve(of(x, y), start, keep, 0.01)
    torch.testing.assert_close(found[:, 2], start[:, 2], atol=1e-7, rtol=0)
    np.testing.assert_allclose(found.numpy(), by_lstsq(x, y, start, keep, 0.01), atol=2e-4, rtol=1e-3)


def test_a_filter_with_no_living_input_gets_the_mean_as_its_bias() -> None:
    x, y, start, keep = problem(1)
    x[:-1] = 0.0
    found = solve(of(x, y), start, keep, 0.01)
    assert torch.equal(found[:, :-1], start[:, :-1] * keep[:, :-1])
    torch.testing.assert_close(found[:, -1], y.mean(dim=1))


def test_the_bias_is_free_and_the_weights_are_pulled() -> None:
    x, y, start, keep = problem(2)
    elsewhere = start.clone()
    elsewhere[:, -1] += 100.0
    found, other = (solve(of(x, y), each, keep, 0.01) for each in (start, elsewhere))
    torch.testing.assert_close(found, other, atol=1e-3, rtol=1e-3)
    strong = solve(of(x, y), start, keep, 1e6)
    torch.testing.assert_close(strong[:, :-1], start[:, :-1], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(strong[:, -1], (y - strong[:, :-1] @ x[:-1]).mean(dim=1), atol=1e-3, rtol=1e-3)


def test_what_is_solved_already_stays() -> None:
    x, y, start, keep = problem(3)
    y = start @ x
    torch.testing.assert_close(solve(of(x, y), start, keep, 0.01), start, atol=1e-9, rtol=0)
