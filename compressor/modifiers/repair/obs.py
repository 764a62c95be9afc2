"""Which weights of a filter to remove, so that the others can best make up for them.

The problem is that of Optimal Brain Surgeon (Hassibi and Stork 1992), layer by layer as in Optimal Brain Compression
(Frantar and Alistarh 2022, arXiv:2208.11580) and SparseGPT (arXiv:2301.00774): the mask and the weights under which a
layer's outputs change least. It is solved for all weights at once by the alternating direction method of multipliers,
as ALPS does (Meng et al. 2024, arXiv:2406.07831), which leaves less error than removing weights one after another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.modifiers.repair.least_squares import Moments

_ROUNDS = 100  # more leave hardly less error
_PENALTY, _GROWTH = 0.02, 1.08  # from hardly a pull towards the mask to one that nothing crosses any more
_LEAST_DAMPING = 1e-3  # `least_squares.solve` knows no least: below it the two problems differ a little


def choose(found: Moments, dense: Tensor, keep: Tensor, group: int | None, damping: float) -> Tensor:
    """A keep-mask with as many zeros in each filter, or in each group of a pattern, as `keep` has.

    Unconstrained weights w that fit the outputs and sparse ones z are drawn together, ever harder: with H the
    covariance of the inputs, G that of inputs and outputs, v the multipliers and p the growing penalty,
    w = (H + p)^-1 (G - v + p z), z = the largest of w + v / p, v += p (w - z).

    Args:
        found: of the layer.
        dense: (C_out, K + 1) float64, weights before pruning, and the bias; what is zero there stays zero.
        keep: (C_out, C_in, kH, kW), the mask that says how many.
        group: M of an N:M pattern along the input channels; None where zeros may be anywhere in a filter.
        damping: see `least_squares.solve`; here at least `_LEAST_DAMPING`.

    Returns:
        Bool, (C_out, C_in, kH, kW).
    """
    groups = Groups(keep, group)
    wanted, alive = groups.zeros(), dense[:, :-1] != 0
    covariance, targets, scale = _normal_equations(found, dense, damping)
    values, vectors = torch.linalg.eigh(covariance)
    values, turned = values.clamp_min(0.0), targets @ vectors

    def largest(weights: Tensor) -> Tensor:
        return groups.without_cheapest(weights.square().where(alive, -1.0), wanted)

    sparse = (dense[:, :-1] / scale).to(targets.dtype)
    kept = largest(sparse)
    sparse, multipliers, penalty = sparse * kept, torch.zeros_like(sparse), _PENALTY
    for _ in range(_ROUNDS):
        pulled = turned + (penalty * sparse - multipliers) @ vectors
        weights = (pulled / (values + penalty)) @ vectors.T
        towards = weights + multipliers / penalty
        kept = largest(towards)
        sparse = towards * kept
        multipliers += penalty * (weights - sparse)
        penalty *= _GROWTH
    return kept.view(keep.shape)


def _normal_equations(found: Moments, dense: Tensor, damping: float) -> tuple[Tensor, Tensor, Tensor]:
    """H (K, K) and G (C_out, K), both float32, of `solve` with the bias free, for weights in units of `scale` (K,)."""
    mean = found.inputs[:-1, -1]
    mean_square = float(found.inputs.diagonal()[:-1].mean()) or 1.0  # any will do where every input is zero
    ridge = max(damping, _LEAST_DAMPING) * mean_square
    covariance = found.covariance()
    covariance.diagonal().clamp_(min=0.0).add_(ridge)  # a large input that hardly varies can come out below 0
    targets = found.outputs[:, :-1] - found.outputs[:, -1:] * mean + ridge * dense[:, :-1]
    scale = covariance.diagonal().rsqrt()
    return (covariance * scale[:, None] * scale).float(), (targets * scale).float(), scale


class Groups:
    """Weights among which some have to go: all of a filter, or M neighbours along its input channels.

    Args:
        keep: (C_out, C_in, kH, kW), a mask.
        m: of the pattern; None for whole filters.
    """

    def __init__(self, keep: Tensor, m: int | None) -> None:
        self.shape = keep.shape
        self.keep = keep
        self.m = m

    def zeros(self) -> Tensor:
        """How many of each group go: (C_out, groups)."""
        return (~self._grouped(self.keep, fill=True)).sum(dim=-1)

    def without_cheapest(self, cost: Tensor, count: Tensor) -> Tensor:
        """Mask (C_out, K) without the `count` (C_out, groups) cheapest of every group; ties go by position."""
        grouped = self._grouped(cost.view(self.shape), fill=torch.inf)
        order = grouped.argsort(dim=-1, stable=True)
        stays = torch.arange(order.shape[-1], device=order.device) >= count[..., None]
        return self._flat(torch.empty_like(stays).scatter_(-1, order, stays))

    def _grouped(self, values: Tensor, fill: float) -> Tensor:
        """(C_out, groups, members); a last group of fewer members is filled up."""
        if self.m is None:
            return values.flatten(1)[:, None]
        c_out, c_in, k_h, k_w = self.shape
        by_position = values.permute(0, 2, 3, 1).reshape(c_out, k_h * k_w, c_in)
        missing = -c_in % self.m
        filled = torch.cat((by_position, by_position.new_full((c_out, k_h * k_w, missing), fill)), dim=-1)
        return filled.reshape(c_out, -1, self.m)

    def _flat(self, grouped: Tensor) -> Tensor:
        if self.m is None:
            return grouped[:, 0]
        c_out, c_in, k_h, k_w = self.shape
        by_position = grouped.reshape(c_out, k_h * k_w, -1)[:, :, :c_in]
        return by_position.permute(0, 2, 1).reshape(c_out, -1)
