"""Which version wrote a run, and what of its report.md is compared if it was another one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compressor.results.run import RUN_SCHEMA, RunRecord
from compressor.run.folder import REPORT
from compressor.run.report import rendered
from compressor.version import __version__

_FIGURES = ("before", "after", "kept")  # headers of every table of figures in a report
_CELLS = re.compile(r"(?<!\\)\|")


def other_writer(record: RunRecord) -> str | None:
    """The version that wrote a run, in words; None if it is this one, whose exact words and pictures are known."""
    if (record.schema, record.environment.compressor) == (RUN_SCHEMA, __version__):
        return None
    return f"compressor {record.environment.compressor} as {record.schema}"


def wrong_figures_of_report(folder: Path, record: RunRecord) -> Iterator[str]:
    """Figures of run.json that the report of another version lacks, whatever else it says and however."""
    report = folder / REPORT
    if not report.is_file():
        yield f"{REPORT} is missing"
        return
    shown = figures_in(report.read_text(encoding="utf-8"))
    for name, before, after in sorted(figures_in(rendered(record, folder)) - shown):
        yield f"{REPORT} has no row of {name} with {before} before and {after} after, as run.json gives"


def figures_in(text: str) -> set[tuple[str, str, str]]:
    """The name, the figure before and the figure after of each row of the tables of figures in a Markdown text."""
    found, columns = set(), None
    for line in text.splitlines():
        cells = [cell.strip() for cell in _CELLS.split(line)[1:-1]]
        if not cells:
            columns = None
        elif columns is None:
            columns = [cells.index(name) for name in _FIGURES[:2]] if {*_FIGURES} <= {*cells} else []
        elif columns and not cells[0].startswith(":"):
            before, after = (cells[column] if column < len(cells) else "" for column in columns)
            found.add((cells[0], before, after))
    return found
