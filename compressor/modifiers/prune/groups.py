"""Which layers of a prune share one sparsity, and how many weights it takes from them; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compressor.models.convolution import Convolution
from compressor.plan.targets import last_match
from compressor.recipe.modifiers import Prune
from compressor.recipe.modifiers.budget import Budget


@dataclass(frozen=True)
class Group:
    """Convolutions that share one sparsity; None where a pattern or a goal says how many weights go."""

    convolutions: tuple[Convolution, ...]
    sparsity: float | None


def sparsity_groups(convolutions: Sequence[Convolution], modifier: Prune) -> tuple[Group, ...]:
    """Targeted convolutions by the sparsity that counts for them; those no key of `sparsity` matches are left out."""
    if not isinstance(modifier.sparsity, dict):
        sparsity = None if isinstance(modifier.sparsity, Budget) else modifier.sparsity
        return (Group(tuple(convolutions), sparsity),)
    owners = {c.name: last_match(modifier.sparsity, c) for c in convolutions}
    groups = (
        Group(tuple(c for c in convolutions if owners[c.name] == key), sparsity)
        for key, sparsity in modifier.sparsity.items()
    )
    return tuple(group for group in groups if group.convolutions)


def exact_count(sparsity: float, weights: int) -> int:
    """round(sparsity x weights), half to even as Python and upstream round: how many weights go."""
    return round(sparsity * weights)
