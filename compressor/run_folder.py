"""The folder a run writes: made aside, put in place whole, never half-written, never over something else."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.errors import Diagnostic, OutputError
from compressor.results import RUN_SCHEMA, FileDigest

REPORT, RECORD, MODEL = "report.md", "run.json", "model.safetensors"
PREDICTIONS_BEFORE, PREDICTIONS_AFTER = "predictions_before.json", "predictions_after.json"
_OURS = {REPORT, RECORD, MODEL, PREDICTIONS_BEFORE, PREDICTIONS_AFTER}


def check_output(output: Path, *, force: bool) -> None:
    """Refuse to write over an earlier run unless asked to, and over anything else in any case.

    Raises:
        OutputError: O601 an earlier run is there; O603 something else is there, alone or beside a run's files.
    """
    if not (output.exists() or output.is_symlink()):
        return
    found = {path.name for path in output.iterdir()} if output.is_dir() and not output.is_symlink() else None
    if found == set():
        return
    if found is None or not found <= _OURS or not _is_record(output / RECORD):
        message = "there is something here that is not a run's"
        raise OutputError(Diagnostic("O603", message, str(output), help="name another folder with --output"))
    if not force:
        help_text = "name another folder with --output, or replace the run with --force"
        raise OutputError(Diagnostic("O601", "there is a run here already", str(output), help=help_text))


def _is_record(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("schema") == RUN_SCHEMA


@contextmanager
def written_aside(output: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `output` to write into; it takes `output`'s place when the block ends without an error.

    Raises:
        OutputError: O602 the place cannot be written to; O601 or O603 something has come there meanwhile.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    except OSError as fault:
        raise _cannot_write(output, fault) from fault
    try:
        yield staging
        check_output(output, force=force)
        _publish(staging, output)
    except OSError as fault:
        if not str(fault.filename or "").startswith(str(output.parent)):
            raise  # not about the output
        raise _cannot_write(output, fault) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, output: Path) -> None:
    """Put the finished folder in its place; an earlier run stays until then."""
    staging.chmod(0o755)  # mkdtemp's folder is the owner's alone
    if not output.exists():
        staging.rename(output)
        return
    old = staging.with_suffix(".old")
    output.rename(old)
    try:
        staging.rename(output)
    except OSError:
        old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _cannot_write(output: Path, fault: OSError) -> OutputError:
    message = f"cannot write here: {fault.strerror or fault}"
    return OutputError(Diagnostic("O602", message, str(output), help="choose another folder: --output"))


def digests(folder: Path) -> tuple[FileDigest, ...]:
    """Every file of the folder, by name."""
    return tuple(FileDigest(p.name, p.stat().st_size, sha256(p)) for p in sorted(folder.iterdir()))


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
