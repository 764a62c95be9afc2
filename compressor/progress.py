"""How long-running work reports its progress, without knowing who listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Update = Callable[[int, int | None], None]  # called with the units done so far and their total, None if unknown


class Progress(Protocol):
    """A listener: the terminal, or nobody."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """A named step; reports when it begins and how long it took."""

    def bar(self, title: str, unit: str) -> AbstractContextManager[Update]:
        """A step of countable units, with rate and time left."""

    def section(self, title: str) -> None:
        """What the steps that follow belong to."""

    def note(self, text: str) -> None:
        """One line for users who asked for more detail."""

    def warn(self, text: str) -> None:
        """One line that everyone should see."""


MOST_WARNINGS = 10  # of one kind that are printed one by one


def warn_of(progress: Progress, sentences: Sequence[str], rest: str) -> None:
    """Tell of what was left out, amended or replaced, whatever was asked for: it moves figures.

    Args:
        progress: the listener.
        sentences: one for each.
        rest: where all of them can be read, where there are too many to tell.
    """
    for sentence in sentences[:MOST_WARNINGS]:
        progress.warn(f"warning: {sentence}")
    if len(sentences) > MOST_WARNINGS:
        progress.warn(f"and {len(sentences) - MOST_WARNINGS:,} more warnings: {rest}")


class Silent:
    """Nobody listens."""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Say nothing."""
        yield

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Update]:
        """Say nothing."""
        yield lambda _done, _total: None

    def section(self, title: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""


class Ledger:
    """Passes every call on to a listener, and sums the seconds that each title took.

    The time of a step within another one counts once, for the inner one; time outside any step has the title "". So
    the times add up to all that passed since the ledger was opened.

    Args:
        listener: the listener.
        wall: clock of the time that passes, in seconds.
        cpu: clock of the time that processors work, all threads together, in seconds.
    """

    def __init__(
        self,
        listener: Progress,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._listener = listener
        self._clocks = wall, cpu
        self._last = wall(), cpu()
        self._open = [""]
        self._spent: dict[str, list[float]] = {}

    def spent(self) -> list[tuple[str, float, float]]:
        """Title, seconds that passed, and CPU seconds, in the order in which the titles came first; "" stands last."""
        self._settle()
        account = {"": [0.0, 0.0], **self._spent}
        account[""] = account.pop("")
        return [(title, passed, worked) for title, (passed, worked) in account.items()]

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Pass on, and count."""
        with self._counted(title), self._listener.step(title):
            yield

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Update]:
        """Pass on, and count."""
        with self._counted(title), self._listener.bar(title, unit) as update:
            yield update

    def section(self, title: str) -> None:
        """Pass on."""
        self._listener.section(title)

    def note(self, text: str) -> None:
        """Pass on."""
        self._listener.note(text)

    def warn(self, text: str) -> None:
        """Pass on."""
        self._listener.warn(text)

    @contextmanager
    def _counted(self, title: str) -> Iterator[None]:
        self._settle()
        self._spent.setdefault(title, [0.0, 0.0])
        self._open.append(title)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def _settle(self) -> None:
        """Count what passed since the last time for the innermost open step."""
        wall, cpu = self._clocks
        now = wall(), cpu()
        account = self._spent.setdefault(self._open[-1], [0.0, 0.0])
        for i, (later, earlier) in enumerate(zip(now, self._last, strict=True)):
            account[i] += later - earlier
        self._last = now
