"""A prune in one line."""

from __future__ import annotations

from compressor.recipe.modifiers import Prune


def described(modifier: Prune, layers: int) -> str:
    """One line for the terminal and the report."""
    if modifier.n_of_m is not None:
        n, m = modifier.n_of_m
        return f"prune {layers} layers to {n} of every {m} weights along the input channels ({modifier.score})"
    how = f"({modifier.pattern}, {modifier.score}, {modifier.allocation})"
    if isinstance(modifier.sparsity, dict):
        shares = ", ".join(f"{100 * sparsity:g} % of {key}" for key, sparsity in modifier.sparsity.items())
        return f"prune {shares}: {layers} layers {how}"
    assert isinstance(modifier.sparsity, float)  # the schema asks for one, and budgets are settled before
    return f"prune {100 * modifier.sparsity:g} % of the weights of {layers} layers {how}"
