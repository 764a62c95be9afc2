"""The steps of a recipe cached one by one, and long steps in parts, so that a resumed run goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from compressor.files.store import StepName, Steps
from compressor.modifiers.apply import apply_step
from compressor.modifiers.behaviours import behaviour_of
from compressor.modifiers.state import Context, State
from compressor.modifiers.state_file import packed, restore
from compressor.modifiers.steps import Steps as ModifierSteps
from compressor.plan.outline import Resolved
from compressor.recipe.modifiers import Modifier
from compressor.results.changes import Change

PART_SECONDS = 20.0  # of work that a kill may cost
_CHANGES = TypeAdapter(tuple[Change, ...])
_CHANGES_FILE = "changes.json"


@dataclass(eq=False)
class StepParts:
    """The last part of one step: see `modifiers.state.Parts`."""

    steps: Steps
    name: StepName
    key: str
    since: float = field(default_factory=time.monotonic)

    def find(self) -> dict[str, bytes] | None:
        """What an interrupted run left of this very step."""
        return self.steps.find(self.name, self.key) if self.steps.holds(self.name, self.key) else None

    @property
    def due(self) -> bool:
        """Whether a kill would cost more than a little work."""
        return time.monotonic() - self.since >= PART_SECONDS

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Leave a part in place of the one before."""
        self.steps.keep(self.name, self.key, files)
        self.since = time.monotonic()


def apply_cached(
    steps: ModifierSteps, state: State, context: Context, cache: Steps, given: Sequence[dict[str, Any]]
) -> tuple[Change, ...]:
    """Apply all steps, from the last one that is cached on.

    What takes no images takes little time, and is not cached; nor is the last step, whose result is saved at once.

    Args:
        steps: of the recipe.
        state: before the first; afterwards, after the last.
        context: what they are given.
        cache: of the run.
        given: of each step, all that its result depends on beside the state that it finds.
    """
    keys = _chained(cache, given)
    done, changes = _restored(steps, keys, state, cache)
    for index in range(done, len(steps)):
        step = steps[index]
        parts = StepParts(cache, _part_name(index, step), keys[index])
        changes = (*changes, apply_step(step, state, replace(context, parts=parts)))
        if step.modifier.images is not None and index + 1 < len(steps):
            told = to_json([asdict(change) for change in changes])
            cache.keep(_name(index, step), keys[index], {_CHANGES_FILE: told, **packed(state)})
        cache.drop(parts.name)
    return changes


def _chained(cache: Steps, given: Sequence[dict[str, Any]]) -> list[str]:
    """A key for each step, which holds the one before it."""
    keys: list[str] = []
    for facts in given:
        keys.append(cache.key(before=keys[-1] if keys else None, **facts))
    return keys


def _restored(steps: ModifierSteps, keys: Sequence[str], state: State, cache: Steps) -> tuple[int, tuple[Change, ...]]:
    """The number of steps that need not be applied, and their changes; the state is brought to what they left."""
    for index in reversed(range(len(steps))):
        name = _name(index, steps[index])
        files = cache.find(name, keys[index]) if cache.holds(name, keys[index]) else None
        if files is not None:
            restore(state, files)
            return index + 1, _CHANGES.validate_json(files[_CHANGES_FILE])
    return 0, ()


def _name(index: int, step: Resolved[Modifier]) -> StepName:
    return StepName(f"step_{index + 1}", f"step {index + 1}, {behaviour_of(step.modifier).title(step.modifier)}")


def _part_name(index: int, step: Resolved[Modifier]) -> StepName:
    whole = _name(index, step)
    return StepName(f"{whole.folder}_part", f"a part of {whole.title}")
