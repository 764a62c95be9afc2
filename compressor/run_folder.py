"""The folder a run writes: made aside, put in place whole, never half-written, never over something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.output import check_place, publish, staged
from compressor.results.files import FileDigest
from compressor.results.run import RUN_SCHEMA

REPORT, RECORD, MODEL = "report.md", "run.json", "model.safetensors"
PREDICTIONS_BEFORE, PREDICTIONS_AFTER = "predictions_before.json", "predictions_after.json"
_OURS = {REPORT, RECORD, MODEL, PREDICTIONS_BEFORE, PREDICTIONS_AFTER}


def check_output(output: Path, *, force: bool) -> None:
    """Refuse to write over an earlier run unless asked to, and over anything else but an empty folder in any case.

    Raises:
        OutputError: O601 an earlier run is there; O603 something else is there, alone or beside a run's files.
    """
    if output.is_symlink() or not output.is_dir() or any(output.iterdir()):
        check_place(output, "run", "folder", _is_run, force=force)


def _is_run(path: Path) -> bool:
    return path.is_dir() and {file.name for file in path.iterdir()} <= _OURS and _is_record(path / RECORD)


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
    with staged(output) as folder:
        yield folder
        check_output(output, force=force)
        folder.chmod(0o755)  # mkdtemp's folder is the owner's alone
        publish(folder, output)


def digests(folder: Path) -> tuple[FileDigest, ...]:
    """Every file of the folder, by name."""
    return tuple(FileDigest(p.name, p.stat().st_size, sha256(p)) for p in sorted(folder.iterdir()))


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
