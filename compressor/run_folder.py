"""The folder a run writes: made aside, put in place whole, never half-written, never over something else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.errors import InputError
from compressor.output import check_place, publish, staged
from compressor.results.files import FileDigest
from compressor.results.run import load_run

REPORT, RECORD, MODEL = "report.md", "run.json", "model.safetensors"
TEMPLATE = "report.md.j2"  # where a recipe names one
PAGE = "report.html"  # made afterwards by `compressor report`
PREDICTIONS_BEFORE, PREDICTIONS_AFTER = "predictions_before.json", "predictions_after.json"


def check_output(output: Path, *, force: bool) -> None:
    """Refuse to write over an earlier run unless asked to, and over anything else but an empty folder in any case.

    Raises:
        OutputError: O601 an earlier run is there; O603 something else is there, alone or beside a run's files.
    """
    if output.is_symlink() or not output.is_dir() or any(output.iterdir()):
        check_place(output, "run", "folder", _is_run, force=force)


def _is_run(path: Path) -> bool:
    """Whether a folder holds a run, and nothing that the run does not name."""
    try:
        recorded = {file.path for file in load_run(path / RECORD).files}
    except InputError:
        return False
    return names_in(path) <= {REPORT, RECORD, PAGE, *recorded}


def names_in(folder: Path) -> set[str]:
    """Every file below a folder, by its path within it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


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
    """Every file below the folder, by its path within it."""
    places = ((name, folder / name) for name in sorted(names_in(folder)))
    return tuple(FileDigest(name, place.stat().st_size, sha256(place)) for name, place in places)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
