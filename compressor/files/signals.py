"""Ctrl-C and SIGTERM held back while something works that must not be left in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)  # what asks a command to stop


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM through only when the block is left.

    A converter may swallow them or end the process over them, and between two renames nothing is in its place.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which never gets the signal
        return
    came: list[int] = []
    earlier = {number: signal.signal(number, lambda each, _frame: came.append(each)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
