"""Ctrl-C and SIGTERM: at once while modules are being imported, with tidying up while a command works."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from compressor.files.signals import ENDING

INTERRUPTED = 130  # exit code, as a shell reports a process that SIGINT ended; SIGTERM's is 143
LEFT = "the run folder was left as it was"
MESSAGE = f"\ninterrupted; {LEFT}"

_came: list[int] = []  # the signals since `unwind`


def exit_at_once() -> None:
    """Until `unwind`, both end the process: extension modules in the middle of their import swallow an exception."""
    for number in ENDING:
        signal.signal(number, _exit)


def unwind() -> None:
    """From now on both are a KeyboardInterrupt, so that what was written aside is removed."""
    for number in ENDING:
        signal.signal(number, _raise)


def was_interrupted() -> bool:
    """Whether one came since `unwind`: extension modules may turn it into an exception of their own."""
    return bool(_came)


def stop_if_interrupted() -> None:
    """Raise the KeyboardInterrupt that did not arrive: what a callback of the interpreter raises is dropped.

    Raises:
        KeyboardInterrupt: a signal came since `unwind`.
    """
    if _came:
        raise KeyboardInterrupt


def exit_code() -> int:
    """130 after Ctrl-C, 143 after SIGTERM: 128 and the signal's number, as shells report it."""
    return 128 + _came[0] if _came else INTERRUPTED


@contextmanager
def told_as(message: Callable[[], str]) -> Iterator[None]:
    """End the command with this message where it is interrupted, whatever exception that was made into on the way."""
    import click  # this module comes before all others, so that Ctrl-C is heeded while they are imported

    try:
        yield
        stop_if_interrupted()
    except BaseException as fault:
        if not (isinstance(fault, KeyboardInterrupt) or was_interrupted()):
            raise
        click.echo(f"\ninterrupted; {message()}", err=True)
        sys.exit(exit_code())


def _raise(signal_number: int, _frame: FrameType | None) -> None:
    _came.append(signal_number)
    raise KeyboardInterrupt


def _exit(signal_number: int, _frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(128 + signal_number)
