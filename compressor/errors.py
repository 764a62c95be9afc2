"""Every error a user can meet: its exit code, its place, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Diagnostic:
    """One fault: where it is, what it is, and how to mend it.

    Attributes:
        code: stable identifier of the rule, for example `R103`.
        message: what is wrong, in one sentence.
        path: the file, flag or URL at fault.
        line: 1-based line in `path`.
        column: 1-based column in `path`.
        help: how to mend it.
    """

    code: str
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None
    help: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        text = f"{place}: {self.code} {self.message}" if place else f"{self.code} {self.message}"
        return f"{text}\n  help: {self.help}" if self.help else text


class CompressorError(Exception):
    """An error that ends a command with a sentence instead of a traceback.

    Exit codes: 2 the user's input is at fault, 3 the run failed.
    """

    exit_code = 3

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = diagnostics


class InputError(CompressorError):
    """What the user handed in cannot be used as it is (codes of its kinds below, and U9xx for options and runs)."""

    exit_code = 2


class RecipeError(InputError):
    """The recipe's text is at fault (codes R1xx)."""


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


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Help text naming the nearest known word, or None when nothing is near."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}?" if matches else None
