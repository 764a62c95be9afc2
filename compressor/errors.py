"""Every error a user can meet: its exit code, its place, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from compressor.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_LINE = 200
_ALLOCATORS = ("DefaultCPUAllocator", "ALLOC_FAILED")  # of torch and cuBLAS, which raise a plain RuntimeError


@dataclass(frozen=True)
class Diagnostic:
    """One error: where it is, what it is, and how to fix it.

    Attributes:
        code: stable identifier of the rule, for example `R103`.
        message: what is wrong, in one sentence.
        path: the file, flag or URL with the error.
        line: 1-based line in `path`.
        column: 1-based column in `path`.
        help: how to fix it.
    """

    code: str
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None
    help: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        text = printable(f"{place}: {self.code} {self.message}" if place else f"{self.code} {self.message}")
        return f"{text}\n  help: {printable(self.help)}" if self.help else text


class CompressorError(Exception):
    """An error that ends a command with a sentence instead of a traceback.

    Exit codes: 1 all was done and the answer is no, 2 the user's input has an error, 3 the run failed, 70 compressor
    itself has an error.
    """

    exit_code = 3

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = diagnostics


class InputError(CompressorError):
    """What the user handed in cannot be used as it is (codes of its kinds below, and U9xx for options and runs)."""

    exit_code = 2


class RecipeError(InputError):
    """The recipe's text has an error (codes R1xx)."""


class PlanError(InputError):
    """The recipe does not fit the model (codes P2xx)."""


class CheckpointError(InputError):
    """A weights file is missing, malformed, hostile or not supported (codes W3xx)."""


class DatasetError(InputError):
    """A data set is missing, malformed or does not fit the model (codes D4xx)."""


class ArtifactError(CompressorError):
    """A compressed file cannot be written or read exactly (codes A5xx)."""


class OutputError(InputError):
    """The output cannot be written where it was asked for (codes O6xx)."""


class DownloadError(CompressorError):
    """A file could not be fetched (codes N7xx)."""


class RunError(CompressorError):
    """The run itself went wrong (codes E8xx)."""


class AnswerError(CompressorError):
    """A command did all that it was asked for, and its answer is no (codes U921 and U922)."""

    exit_code = 1


class UnforeseenError(CompressorError):
    """Something that no rule covers (code E899): an error in compressor, whatever was handed in."""

    exit_code = 70  # as sysexits.h numbers a program's own errors


def first_line(error: BaseException) -> str:
    """What a library says of what is wrong, in one line, or the name of the exception where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:_LONGEST_LINE] if lines else type(error).__name__


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, NumPy or torch, which is not imported for that, reports too little memory."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or any(name in str(error) for name in _ALLOCATORS)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Help text naming the nearest known word, or None when nothing is near."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}?" if matches else None
