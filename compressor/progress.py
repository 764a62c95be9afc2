"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Update = Callable[[int, int | None], None]  # called with the units done so far and their total, None if unknown


class Progress(Protocol):
    """A listener: the terminal, or nobody."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """A named step; told when it begins and how long it took."""

    def bar(self, title: str, unit: str) -> AbstractContextManager[Update]:
        """A step of countable units, with rate and time left."""

    def section(self, title: str) -> None:
        """What the steps that follow belong to."""

    def note(self, text: str) -> None:
        """One line worth knowing."""


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
