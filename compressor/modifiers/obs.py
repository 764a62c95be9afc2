"""Which weights of a filter to remove, by what removing them costs once the others have made up for it.

The second-order score of a weight is w^2 / [H^-1]_ii, with H the second moments of the layer's inputs: Optimal Brain
Surgeon (Hassibi and Stork 1992), layer by layer as in Optimal Brain Compression (Frantar and Alistarh 2022,
arXiv:2208.11580) and SparseGPT (arXiv:2301.00774). Weights go in a few rounds, and the rest is solved again after each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.modifiers.least_squares import Moments, solve

_ROUNDS = 4
_LEAST_DAMPING = 1e-3  # far above what float32 makes of the covariance of inputs that hardly vary


def choose(found: Moments, dense: Tensor, keep: Tensor, n_of_m: tuple[int, int] | None, damping: float) -> Tensor:
    """A keep-mask with as many zeros in each filter, or in each group of a pattern, as `keep` has.

    Args:
        found: of the layer.
        dense: (C_out, K + 1) float64, weights before pruning, and the bias; what is zero there stays zero.
        keep: (C_out, C_in, kH, kW), the mask that says how many.
        n_of_m: N of every M weights along the input channels stay; None where zeros may be anywhere in a filter.
        damping: see `solve`.

    Returns:
        Bool, (C_out, C_in, kH, kW).
    """
    diagonal = _diagonal_of_inverse(found, damping)
    groups = Groups(keep, n_of_m)
    wanted = groups.zeros()
    kept = dense != 0
    kept[:, -1] = True
    for done in range(1, _ROUNDS + 1):
        solution = solve(found, dense, kept, damping)
        cost = torch.where(kept, solution**2, -1.0)[:, :-1] / diagonal
        share = 1 - (1 - done / _ROUNDS) ** 2  # many first, few at the end
        kept[:, :-1] &= groups.without_cheapest(cost, (wanted * share).round() if done < _ROUNDS else wanted)
    return kept[:, :-1].view(keep.shape)


class Groups:
    """Weights among which some have to go: all of a filter, or M neighbours along its input channels.

    Args:
        keep: (C_out, C_in, kH, kW), a mask.
        n_of_m: of the pattern; None for whole filters.
    """

    def __init__(self, keep: Tensor, n_of_m: tuple[int, int] | None) -> None:
        self.shape = keep.shape
        self.keep = keep
        self.m = n_of_m[1] if n_of_m else None

    def zeros(self) -> Tensor:
        """How many of each group go: (C_out, groups)."""
        return (~self._grouped(self.keep, fill=True)).sum(dim=-1)

    def without_cheapest(self, cost: Tensor, count: Tensor) -> Tensor:
        """Mask (C_out, K) without the `count` (C_out, groups) cheapest of every group; ties go by position."""
        grouped = self._grouped(cost.view(self.shape), fill=torch.inf)
        rank = grouped.argsort(dim=-1, stable=True).argsort(dim=-1)
        return self._flat(rank >= count[..., None])

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


def _diagonal_of_inverse(found: Moments, damping: float) -> Tensor:
    """Diagonal of the inverse of the inputs' covariance, damped as in `solve`, (K,)."""
    covariance = found.covariance()
    mean_square = float(found.inputs.diagonal()[:-1].mean()) or 1.0  # any will do where every input is zero
    ridge = max(damping, _LEAST_DAMPING) * mean_square
    damped = covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.cholesky_inverse(torch.linalg.cholesky(damped)).diagonal()
