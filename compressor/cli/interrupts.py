"""Ctrl-C: at once while modules are being imported, with tidying up while a command works."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130  # exit code, as a shell reports a process that SIGINT ended
MESSAGE = "\ninterrupted; the run folder was left as it was"


def exit_at_once() -> None:
    """Until `unwind`, Ctrl-C ends the process: extension modules in the middle of their import swallow an exception."""
    signal.signal(signal.SIGINT, _exit)


def unwind() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt, so that what was written aside is removed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(_signal: int, _frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)
