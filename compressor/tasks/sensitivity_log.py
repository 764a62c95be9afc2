"""Where a long measurement of layers keeps what it has, so that it can go on after an interruption; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compressor.errors import InputError
from compressor.files.writing import check_place, staged
from compressor.progress import Progress
from compressor.results.sensitivity import LayerLosses, load_table

NOTEBOOK_SCHEMA = "compressor/sensitivity-notebook/1"

_LOSSES = TypeAdapter(LayerLosses)


class Notebook:
    """The layers measured so far, in a file: a line of what decides their losses, then one line for each.

    Args:
        file: goes on where it is there already and its first line is the same; else it starts anew.
        key: all that decides the losses, as JSON gives it back.
        progress: told whether it goes on.

    Attributes:
        known: the losses by layer.

    Raises:
        OutputError: O602 the file cannot be written; O603 something else is there.
    """

    def __init__(self, file: Path, key: Mapping[str, Any], progress: Progress) -> None:
        check_place(file, "notebook of an unfinished measurement", "file", _is_notebook, force=True)
        self.file = file
        self.key = {"schema": NOTEBOOK_SCHEMA, **key}
        self.known: dict[str, LayerLosses] = {}
        if not file.exists():
            return
        before, *lines = file.read_text(encoding="utf-8").splitlines()
        changed = _differences(json.loads(before), self.key)
        if not changed:
            self.known = {losses.name: losses for losses in map(_LOSSES.validate_json, lines)}
        with progress.step(
            f"start anew: other {', '.join(changed)}" if changed else f"go on after {len(lines)} layers"
        ):
            self._write()

    def add(self, losses: LayerLosses) -> None:
        """Keep the losses of one more layer."""
        self.known[losses.name] = losses
        self._write()

    def _write(self) -> None:
        entries = [self.key, *map(asdict, self.known.values())]
        with staged(self.file) as folder:
            written = folder / self.file.name
            written.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
            written.replace(self.file)


def written_from(notebook: Path, table: Path) -> bool:
    """Whether a table holds just what a notebook does: who wrote it was killed before the notebook was removed."""
    try:
        _, *lines = notebook.read_text(encoding="utf-8").splitlines()
        return tuple(map(_LOSSES.validate_json, lines)) == load_table(table).layers
    except (OSError, ValueError, InputError):
        return False


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The entries that are not the same, or are in one only."""
    return [name for name in {**now, **before} if name not in now or name not in before or now[name] != before[name]]


def _is_notebook(path: Path) -> bool:
    """Whether every line of a file is what a notebook writes."""
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            _LOSSES.validate_json(line)
        return bool(json.loads(first)["schema"] == NOTEBOOK_SCHEMA)
    except (OSError, ValueError, TypeError, KeyError):
        return False
