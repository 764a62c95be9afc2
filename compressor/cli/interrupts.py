"""Ctrl-C: at once while modules are being imported, with tidying up while a command works."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit code, as a shell reports a process that SIGINT ended
MESSAGE = "\ninterrupted; the run folder was left as it was"

_came = threading.Event()


def exit_at_once() -> None:
    """Until `unwind`, Ctrl-C ends the process: extension modules in the middle of their import swallow an exception."""
    signal.signal(signal.SIGINT, _exit)


def unwind() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt, so that what was written aside is removed."""
    signal.signal(signal.SIGINT, _raise)


def was_interrupted() -> bool:
    """Whether Ctrl-C came since `unwind`: code that imports lazily may turn it into an exception of its own."""
    return _came.is_set()


@contextmanager
def told_as(message: Callable[[], str]) -> Iterator[None]:
    """End the command with this message where Ctrl-C comes, whatever exception it was made into on the way."""
    import click  # this module comes before all others, so that Ctrl-C is heeded while they are imported

    try:
        yield
    except BaseException as fault:
        if not (isinstance(fault, KeyboardInterrupt) or was_interrupted()):
            raise
        click.echo(f"\ninterrupted; {message()}", err=True)
        sys.exit(INTERRUPTED)


def _raise(signal_number: int, frame: FrameType | None) -> None:
    _came.set()
    signal.default_int_handler(signal_number, frame)


def _exit(_signal: int, _frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)
