"""Ctrl-C held back while a converter works, which may swallow it or end the process over it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C through only when the block is left."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which never gets the signal
        return
    came: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
    if came:
        signal.raise_signal(signal.SIGINT)
