"""The report of a run: its pictures, its pages and its record, written into the run folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from compressor.errors import InputError
from compressor.progress import Ledger
from compressor.report.pictures import pictures
from compressor.report.render import read_template, render_report
from compressor.results.document import to_json
from compressor.results.run import RunRecord, StepTime
from compressor.run.folder import RECORD, REPORT, TEMPLATE, digests, sha256


def write_report(run: RunRecord, folder: Path, template: str | None, ledger: Ledger) -> RunRecord:
    """Write what is made from the record; the record with its times and all files that the folder then holds.

    A template that cannot be rendered with this run costs the run nothing: the shipped one takes its place, with a
    warning.

    Args:
        run: the record, without its times and its files.
        folder: of the run.
        template: the text of a user's template, which is kept in the folder; None for the shipped one.
        ledger: where the time went so far.
    """
    with ledger.step("report"):
        for name, picture in pictures(run):
            (folder / name).write_bytes(picture)
    steps = tuple(StepTime(*each) for each in ledger.spent())
    run = replace(run, duration_s=sum(step.wall_s for step in steps), steps=steps)
    if template is not None:
        (folder / TEMPLATE).write_text(template, encoding="utf-8")
    run = replace(run, files=digests(folder))
    try:
        page = render_report(run, template, TEMPLATE)
    except InputError as fault:
        (folder / TEMPLATE).unlink()
        warning = f"{fault.diagnostics[0].message}; this is the shipped one. Try another: compressor report --template"
        run = replace(run, files=digests(folder), warnings=(*run.warnings, warning))
        page = render_report(run)
    (folder / REPORT).write_text(page, encoding="utf-8")
    run = replace(run, report_sha256=sha256(folder / REPORT))
    (folder / RECORD).write_text(to_json(run), encoding="utf-8")
    return run


def rendered(run: RunRecord, folder: Path) -> str:
    """The report as the run wrote it, made anew from its record and the template in its folder.

    Raises:
        InputError: U915 the template cannot be rendered; see also `read_template`.
    """
    kept = folder / TEMPLATE
    run = replace(run, report_sha256="")  # which was not known when it was written
    return render_report(run, read_template(kept, folder) if os.path.lexists(kept) else None, str(kept))
