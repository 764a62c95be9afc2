"""Whether a run finds room on the disk, told before it."""

from __future__ import annotations

import shutil
from pathlib import Path

from compressor.errors import Diagnostic, OutputError
from compressor.results.units import megabytes
from compressor.run.job import Job
from compressor.run.search import dense_bytes

_PAGES = 4_000_000  # bytes of the report, its pictures and the record, about


def check_room(job: Job, output: Path, kept: Path) -> None:
    """Refuse a run for whose files there is too little room.

    Counted are the model, stored densely, and each export as much, twice: in the run folder, and kept beside it until
    the run is whole. How long the lists of detections will be is not known before.

    Args:
        job: about to be done.
        output: the run folder to be; it is written beside it.
        kept: what an interrupted run has kept counts as written.

    Raises:
        OutputError: O605.
    """
    models = 1 + len(job.recipe.exports)
    there = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file())
    needed = max(0, 2 * models * dense_bytes(job) - there) + _PAGES
    place = output.absolute().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        message = f"the run needs about {megabytes(needed)} MB of the disk, and {megabytes(free)} MB are free"
        raise OutputError(Diagnostic("O605", message, str(place), help="make room, or choose another place: --output"))
