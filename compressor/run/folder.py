"""The folder a run writes: made aside, put in place whole, never half-written, never over something else.

What an unfinished run has done is kept beside it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.errors import InputError
from compressor.files.store import Steps
from compressor.files.writing import check_place, claimed, publish, recover, staged
from compressor.files.written import digest, is_known, keep_aside
from compressor.progress import Progress
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


def unfinished_place(output: Path) -> Path:
    """The folder beside a run folder in which it is written, and its finished steps are kept until it is whole."""
    place = output.absolute()
    return place.parent / f".{place.name}.unfinished"


def steps_folder(output: Path) -> Path:
    """Where the finished steps of an unfinished run are kept."""
    return unfinished_place(output) / "steps"


@contextmanager
def written_aside(output: Path, *, force: bool, resume: bool, progress: Progress) -> Iterator[tuple[Path, Steps]]:
    """A folder beside `output` to write into; it takes `output`'s place when the block ends without an error.

    Until then the steps that are done are kept beside it, and with `resume` those of an earlier process are taken.

    Raises:
        OutputError: O602 the place cannot be written to; O601 or O603 something has come there meanwhile; O604 another
            process is writing there.
    """
    place, steps = unfinished_place(output), Steps(steps_folder(output), resume, progress)
    with claimed(output):
        recover(output, place)
        check_output(output, force=force)
        _tell(steps, progress)
        try:
            with staged(output, inside=place) as folder:
                yield folder, steps
                check_output(output, force=force)
                _keep_strange(output, progress)
                folder.chmod(0o755)  # mkdtemp's folder is the owner's alone
                publish(folder, output)
            shutil.rmtree(place, ignore_errors=True)
        finally:
            if not steps.titles:
                shutil.rmtree(place, ignore_errors=True)


def _keep_strange(output: Path, progress: Progress) -> None:
    """Keep what somebody else wrote into an earlier run, or changed in it, before a new run takes its place."""
    names = strange_names(output) if output.is_dir() and any(output.iterdir()) else []
    if names:
        keep_aside(output, [output / name for name in names], progress)


def strange_names(folder: Path) -> list[str]:
    """Files of a run folder that are not, byte by byte, what compressor wrote there; run.json is its own measure."""
    record = load_run(folder / RECORD)
    digests_of = {file.path: file.sha256 for file in record.files} | {REPORT: record.report_sha256, RECORD: None}
    return [
        name
        for name in sorted(names_in(folder))
        if digests_of.get(name, "") not in (None, digest(folder / name)) and not is_known(folder / name)
    ]


def _tell(steps: Steps, progress: Progress) -> None:
    """What there is to go on from."""
    left = ", ".join(steps.titles)
    if left and not steps.resume:
        progress.warn(f"an unfinished run is here, which --resume goes on with; this one starts anew ({left} kept)")
    elif steps.resume and not left:
        progress.note("nothing to go on with is here: the run starts anew")


def digests(folder: Path) -> tuple[FileDigest, ...]:
    """Every file below the folder, by its path within it."""
    places = ((name, folder / name) for name in sorted(names_in(folder)))
    return tuple(FileDigest(name, place.stat().st_size, sha256(place)) for name, place in places)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
