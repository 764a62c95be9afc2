"""Whether the files of a run folder are those that its run.json names, and its report and pictures are its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePath

from compressor.recipe.exports import Export
from compressor.recipe.load import check_part
from compressor.report.pictures import EXAMPLES, pictures
from compressor.results.run import RunRecord
from compressor.run.exports import bytes_of
from compressor.run.folder import (
    MODEL,
    PAGE,
    PREDICTIONS_AFTER,
    PREDICTIONS_BEFORE,
    RECORD,
    REPORT,
    TEMPLATE,
    names_in,
    sha256,
)
from compressor.run.report import rendered
from compressor.tasks.verify.writer import other_writer, wrong_figures_of_report


def left_out(folder: Path, record: RunRecord) -> tuple[str, ...]:
    """The files that a report without its run leaves out: model, detections and exports; none if one of them is there.

    Such is a folder of which only the report, its pictures and run.json are kept, as in a repository.
    """
    names = tuple(file.path for file in record.files if not file.path.endswith(".png") and file.path != TEMPLATE)
    there = any(not leads_out(name) and (folder / name).exists() for name in (MODEL, *names))
    return names if MODEL in names and not there else ()


def wrong_files(folder: Path, record: RunRecord, absent: Collection[str] = ()) -> Iterator[str]:
    """Files that are missing, unless they are known to be absent, or changed, or of something else."""
    recorded = {file.path for file in record.files}
    evaluations = ((record.baseline, PREDICTIONS_BEFORE), (record.compressed, PREDICTIONS_AFTER))
    needed = {MODEL, *(name for evaluation, name in evaluations if evaluation is not None)}
    yield from (f"{name} is not recorded" for name in sorted(needed - recorded))
    present = names_in(folder)
    yield from (
        f"{name} does not belong to the run" for name in sorted(present - recorded - needed - {REPORT, RECORD, PAGE})
    )
    for file in record.files:
        path = folder / file.path
        if file.path in absent:
            continue
        if leads_out(file.path) or not path.is_file():
            yield f"{file.path} is missing"
        elif (sha256(path), path.stat().st_size) != (file.sha256, file.size_bytes):
            yield f"{file.path} was changed"


def leads_out(recorded: str) -> bool:
    """Whether a path that is said to be of the run folder is of somewhere else."""
    return PurePath(recorded).is_absolute() or ".." in PurePath(recorded).parts


def wrong_report(folder: Path, record: RunRecord) -> Iterator[str]:
    """A report that is not the one which the record gives."""
    report = folder / REPORT
    if record.report_sha256 and (not report.is_file() or sha256(report) != record.report_sha256):
        yield f"{REPORT} has not its recorded digest"
    if other_writer(record) is not None:
        yield from wrong_figures_of_report(folder, record)
    elif not report.is_file() or report.read_text(encoding="utf-8") != rendered(record, folder):
        yield f"{REPORT} is missing or was changed"


def wrong_pictures(folder: Path, record: RunRecord) -> Iterator[str]:
    """Pictures that show something else than the record says, or that are not there."""
    drawn = dict(pictures(record))
    for name, picture in drawn.items():
        place = folder / name
        if not place.is_file() or place.read_bytes() != picture:
            yield f"{name} is another picture"
    known = {*drawn, EXAMPLES}
    others = (file.path for file in record.files if file.path.endswith(".png") and file.path not in known)
    yield from (f"{name} is no picture of the run" for name in others)


def wrong_exports(folder: Path, record: RunRecord) -> Iterator[str]:
    """Exports that the recipe does not ask for, or that are not as recorded."""
    written = record.recipe.get("exports", ())
    asked = [check_part(Export, {key: value for key, value in each.items() if value is not None}) for each in written]
    stated = [(export.format, export.path) for export in record.exports]
    if stated != [(each.format, each.file_name) for each in asked]:
        yield "the record names others"
        return
    recorded = {file.path for file in record.files}
    for export, each in zip(record.exports, asked, strict=True):
        place = folder / each.file_name
        if not any(path == export.path or path.startswith(f"{export.path}/") for path in recorded):
            yield f"{export.path} is not recorded among the files"
        elif not place.exists() or bytes_of(place) != export.size_bytes:
            yield f"{export.path} has not its {export.size_bytes:,} bytes"
        if each.evaluate and record.compressed is not None and export.evaluation is None:
            yield f"{export.path} was to be evaluated and was not"
