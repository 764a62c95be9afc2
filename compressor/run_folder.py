"""The folder a run writes: made aside, put in place whole, never half-written, never over something else."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.errors import Diagnostic, OutputError
from compressor.results import FileDigest


def check_output(output: Path, *, force: bool) -> None:
    """Refuse to write over an earlier run unless asked to, and over anything that is no run in any case.

    Raises:
        OutputError: O601 an earlier run is there; O603 something else is there.
    """
    if not output.exists():
        return
    is_run = (output / "run.json").is_file()
    if not is_run and (output.is_file() or any(output.iterdir())):
        help_text = "name another folder with --output"
        raise OutputError(Diagnostic("O603", "there is something here that is not a run", str(output), help=help_text))
    if is_run and not force:
        help_text = "name another folder with --output, or replace the run with --force"
        raise OutputError(Diagnostic("O601", "there is a run here already", str(output), help=help_text))


@contextmanager
def written_aside(output: Path) -> Iterator[Path]:
    """A folder beside `output` to write into; it takes `output`'s place when the block ends without an error.

    Raises:
        OutputError: O602 the place cannot be written to.
    """
    staging = output.parent / f".{output.name}.partial"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)  # what a killed run left
        staging.mkdir()
        yield staging
        _publish(staging, output)
    except OSError as fault:
        message = f"cannot write here: {fault.strerror or fault}"
        raise OutputError(Diagnostic("O602", message, str(output), help="choose another folder: --output")) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, output: Path) -> None:
    """Put the finished folder in its place; an earlier run stays until then."""
    old = output.parent / f".{output.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if output.exists():
        output.rename(old)
    staging.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def digests(folder: Path) -> tuple[FileDigest, ...]:
    """Every file of the folder, by name."""
    return tuple(FileDigest(p.name, p.stat().st_size, sha256(p)) for p in sorted(folder.iterdir()))


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
