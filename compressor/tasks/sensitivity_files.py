"""The files of a measurement of layers: table, plot, recipe, and the notebook while it is not finished; no torch."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compressor.errors import Diagnostic, InputError
from compressor.files.writing import check_place, claimed, recover, staged
from compressor.files.written import put
from compressor.printable import printable
from compressor.progress import Progress
from compressor.recipe.commented import YOUR_DATA, comment, commented
from compressor.recipe.schema import Recipe
from compressor.recipe.write import check_recipe_place, write_recipe
from compressor.report.sensitivity_plot import is_sensitivity_plot, measured, sensitivity_png
from compressor.results.sensitivity import SENSITIVITY_SCHEMA, SensitivityTable, table_text
from compressor.tasks.sensitivity_log import written_from


@dataclass(frozen=True)
class SensitivityFiles:
    """Where a measurement is written.

    Attributes:
        table: the losses.
        recipe: one that uses them; None where none is asked for.
        force: replace what is there of earlier measurements.
    """

    table: Path
    recipe: Path | None = None
    force: bool = False

    @property
    def plot(self) -> Path:
        """Beside the table."""
        return self.table.with_name(f"{self.table.name.removesuffix('.json')}.png")

    @property
    def notebook(self) -> Path:
        """Beside the table, until the measurement is finished."""
        return self.table.with_name(f"{self.table.name}.partial.jsonl")

    @property
    def table_from_recipe(self) -> str:
        """The table as the recipe names it: from the recipe's folder."""
        start = (self.recipe or self.table).absolute().parent
        return Path(os.path.relpath(self.table.absolute(), start)).as_posix()

    def cut_off(self) -> bool:
        """Whether a process was killed after it had written all, so that the same may be written again."""
        return written_from(self.notebook, self.table)

    def check(self) -> None:
        """Refuse places that hold something else, before any work.

        Raises:
            InputError: U920 two of the files have one place.
            OutputError: O601 a file is there, and it may not be replaced; O603 something else is there.
        """
        force = self.force or self.cut_off()
        self._check_table(force=force)
        if self.recipe is None:
            return
        if self.recipe.resolve() in {each.resolve() for each in (self.table, self.plot, self.notebook)}:
            message = "the recipe would take the place of the table, its plot or its notebook"
            raise InputError(Diagnostic("U920", message, str(self.recipe), help="name another file"))
        check_recipe_place(self.recipe, force=force, option="--emit")

    def _check_table(self, *, force: bool) -> None:
        check_place(self.table, "sensitivity table", "file", _is_table, force=force)
        check_place(self.plot, "sensitivity plot", "file", is_sensitivity_plot, force=force)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """The files for this process alone, those put back that one which was killed had moved aside.

        Raises:
            OutputError: O604 another process writes them.
        """
        with claimed(self.table):
            for place in (self.table, self.notebook):
                recover(place, place.absolute().parent)
            yield

    def write(self, table: SensitivityTable, recipe: Recipe | None, progress: Progress) -> None:
        """Write table and plot aside, put both in place, then the recipe; the notebook is removed at the end.

        Raises:
            OutputError: O601 a file has come to its place meanwhile; O602 one cannot be written.
        """
        cut_off = self.cut_off()
        with staged(self.table) as folder:
            text, picture = folder / "table", folder / "plot"
            text.write_text(table_text(table), encoding="utf-8")
            picture.write_bytes(sensitivity_png(table))
            self._check_table(force=self.force or (cut_off and _holds(self.table, table_text(table))))
            put(text, self.table, progress)
            put(picture, self.plot, progress)
        if self.recipe is not None and recipe is not None:
            content = _recipe_text(recipe, table, self.recipe)
            force = self.force or (cut_off and _holds(self.recipe, content))
            write_recipe(content, self.recipe, progress, force=force, option="--emit")
        self.notebook.unlink()


def _is_table(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("schema") == SENSITIVITY_SCHEMA


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text


def _recipe_text(recipe: Recipe, table: SensitivityTable, file: Path) -> str:
    name = printable(shlex.quote(str(file)))
    data = "" if recipe.data else f" --data {YOUR_DATA}"
    header = [
        *comment(f"Takes weights where the table says that they matter least: {measured(table)}"),
        "#",
        f"# What it would do:  compressor plan {name}",
        f"# To run it:         compressor apply {name}{data}",
    ]
    return commented(recipe, header, {})
