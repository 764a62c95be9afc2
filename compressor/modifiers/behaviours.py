"""What every kind of modifier can do: a module of functions for each, chosen by the one match below.

A new modifier is a class in `recipe/modifiers/`, a module with the functions of `Behaviour`, and its member of the
union and of the match; the type checker reports a function that is missing. The modules import torch only inside of
functions that are given a network, so that `check` and `diff` answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, assert_never

from compressor.errors import Diagnostic
from compressor.modifiers.prune import behaviour as prune
from compressor.modifiers.repair import behaviour as repair
from compressor.plan.outline import Outline, Resolved
from compressor.recipe.modifiers import TYPES, Modifier, ModifierType, Prune, Repair
from compressor.recipe.modifiers.step import Step
from compressor.results.changes import Change, Rows

if TYPE_CHECKING:
    from compressor.modifiers.state import Context, State

M_contra = TypeVar("M_contra", bound=Step, contravariant=True)
M = TypeVar("M", bound=Step)


class Behaviour(Protocol[M_contra]):
    """The functions of one kind of modifier."""

    def title(self, modifier: M_contra) -> str:
        """Name of the step in the account of where the time went."""

    def check(self, step: Resolved[M_contra], outline: Outline) -> Iterator[Diagnostic]:
        """What of the step does not fit the network as the steps before leave it; without torch."""

    def predict(self, step: Resolved[M_contra], state: State, context: Context) -> Change:
        """What `apply` would count, in little time: the model may be changed as far as later steps depend on it."""

    def apply(self, step: Resolved[M_contra], state: State, context: Context) -> Change:
        """Carry the step out, on the state itself."""

    def prove(self, change: Change, state: State) -> None:
        """Check that a network is as the change says, after rounding and after reading it back.

        Raises:
            RunError: it is not.
        """

    def summary(self, change: Change, step: Resolved[M_contra]) -> str:
        """The summary that a recorded change has if it is that of the step."""

    def contradictions(self, change: Change, step: Resolved[M_contra], before: Mapping[str, int]) -> Iterator[str]:
        """What of a recorded change cannot be that of the step; `before` has the zeros of each layer, where known."""

    def rows(self, change: Change) -> Rows:
        """The change layer by layer, for `plan` and the report; without torch."""


def behaviour_of(modifier: Modifier) -> Behaviour[Any]:
    """The functions of a modifier's kind."""
    return behaviour_named(modifier.type)


def behaviour_named(word: ModifierType) -> Behaviour[Any]:
    """The functions of the kind that a recipe calls so."""
    match word:
        case "prune":
            return _functions(Prune, prune)
        case "repair":
            return _functions(Repair, repair)
        case _:
            assert_never(word)


def rows_of(change: Change) -> Rows:
    """A change layer by layer; nothing of a kind of modifier that this version does not know."""
    known = next((word for word in TYPES if word == change.modifier), None)
    return Rows() if known is None else behaviour_named(known).rows(change)


def _functions(_kind: type[M], module: Behaviour[M]) -> Behaviour[M]:
    """The module, known by the type checker to have every function of its kind."""
    return module
