"""Standard streams that a command can rely on: open, able to print any text, and no reason to lose finished work."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO, cast


class _Unfailing(io.TextIOWrapper):
    """A stream for progress and notes: where nobody can receive them, the work goes on without."""

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written and all that follows."""
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop likewise."""
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        discard(self.fileno())


def prepare_streams() -> None:
    """Open the standard streams that are closed, and make stdout and stderr take any text; call it once, at the start.

    A closed stream leaves its number to the next file that is opened, into which native libraries would then print
    their messages: the null device takes its place. Text that the encoding lacks is written as backslash escapes; an
    ASCII-only locale gets UTF-8, as Python itself does where it is not told otherwise.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # the lowest free number is this one
    sys.stdin = sys.stdin or _opened(0, "r")
    sys.stdout = _any_text(sys.stdout or _opened(1, "w"))
    sys.stderr = _unfailing(_any_text(sys.stderr or _opened(2, "w")))


def discard(number: int) -> None:
    """From now on whatever is written to this file descriptor is dropped, what is still in buffers included."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def utf8(word: str) -> str:
    """A word of the command line, or a file's name, as text that can be stored: bytes that are not UTF-8 as escapes."""
    return os.fsencode(word).decode("utf-8", "backslashreplace")


def _any_text(stream: TextIO) -> TextIO:
    if isinstance(stream, io.TextIOWrapper):
        ascii_only = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding="utf-8" if ascii_only else stream.encoding, errors="backslashreplace")
    return stream


def _unfailing(stream: TextIO) -> TextIO:
    """Progress goes to the stream's file by a buffer of its own, which lasts as long as it does."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    buffer = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115  # a number, and for the whole process
    return _Unfailing(buffer, stream.encoding, stream.errors, line_buffering=True)


def _opened(number: int, mode: str) -> TextIO:
    return cast(TextIO, open(number, mode, encoding="utf-8", closefd=False))  # as above
