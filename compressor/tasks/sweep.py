"""A grid of runs of one recipe: every combination of some values, what is done already left alone."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compressor.data.dataset import Split, load_dataset
from compressor.errors import (
    CompressorError,
    Diagnostic,
    DownloadError,
    InputError,
    OutputError,
)
from compressor.evaluation.predict import select_device
from compressor.files.writing import claimed, recover, staged
from compressor.files.written import put
from compressor.progress import Progress
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.nodes import shortened
from compressor.recipe.overrides import Override, parse_set
from compressor.report.compare import PLOT, overview, overview_markdown, pareto_png
from compressor.results.gates import Verdict
from compressor.results.run import RunRecord, load_run
from compressor.run.folder import MODEL
from compressor.run.inputs import Inputs, differences
from compressor.run.pipeline import run
from compressor.run.readiness import Options, read_told, report_files

SWEEP_SCHEMA = "compressor/tasks/sweep/1"
RECORD, PAGE, BASELINES = "sweep.json", "comparison.md", ".baselines"
_LONG = {"weights": "model.weights"}
_FILES = ("model.weights", "data")  # whose values are taken as they are, like those of `--weights` and `--data`
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")
_LONGEST = 60  # letters of a value in a folder's name


@dataclass(frozen=True)
class Axis:
    """One key and the values it takes.

    Attributes:
        path: of the key, such as `modifiers.0.sparsity`.
        values: as they were written.
    """

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One run of the grid.

    Attributes:
        name: of its folder.
        recipe_file: the recipe with the point's values.
    """

    name: str
    recipe_file: RecipeFile


@dataclass(frozen=True)
class Outcome:
    """What became of one point.

    Attributes:
        name: of the point.
        record: of its run; None where it failed.
        fault: why it failed.
    """

    name: str
    record: RunRecord | None
    fault: CompressorError | None

    @property
    def failed_gates(self) -> tuple[Verdict, ...]:
        """Gates of the recipe that failed."""
        return tuple(verdict for verdict in self.record.gates if verdict.failed) if self.record else ()


def parse_axis(argument: str) -> Axis:
    """`modifiers.0.sparsity=0.1,0.3` to an axis; commas within brackets and quotes part nothing.

    Raises:
        InputError: U916 it is not of that form, or a value is named twice.
    """
    place = f"--over {shortened(argument)}"
    path, equals, rest = argument.partition("=")
    values = tuple(value.strip() for value in _parted(rest))
    if not equals or not path.strip() or not all(values):
        help_text = "write a key and its values: --over modifiers.0.sparsity=0.1,0.3,0.5"
        raise InputError(Diagnostic("U916", "not of the form key=value,value", place, help=help_text))
    if len(set(values)) < len(values):
        raise InputError(Diagnostic("U916", "a value is named twice", place, help="name it once"))
    return Axis(_LONG.get(path.strip(), path.strip()), values)


def _parted(text: str) -> list[str]:
    """Text between the commas that stand outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (depth or not parts[-1].strip()):  # within a word it is an apostrophe
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        if letter == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def points(recipe: Path, axes: Sequence[Axis], overrides: Sequence[Override]) -> tuple[Point, ...]:
    """Every combination, checked; the last axis turns fastest.

    Raises:
        RecipeError: a combination makes no recipe.
        InputError: U916 two combinations would have one name, or an axis is named twice.
    """
    paths = [axis.path for axis in axes]
    if len(set(paths)) < len(paths):
        raise InputError(Diagnostic("U916", "a key is swept twice", "--over", help="name all its values in one --over"))
    short = {axis.path: _names(axis.values) for axis in axes}
    found: list[Point] = []
    for combination in itertools.product(*(axis.values for axis in axes)):
        chosen = list(zip(paths, combination, strict=True))
        name = "_".join(f"{path.rpartition('.')[2]}={short[path][value]}" for path, value in chosen)
        point = Point(name, load_recipe(recipe, (*overrides, *(_override(*each) for each in chosen))))
        twin = next((each for each in found if each.recipe_file.recipe == point.recipe_file.recipe), None)
        if twin is not None or any(each.name == name for each in found):
            message = f"{name} would be the same run as {twin.name if twin else name}"
            raise InputError(Diagnostic("U916", message, "--over", help="name each value once"))
        found.append(point)
    return tuple(found)


def _override(path: str, value: str) -> Override:
    if path in _FILES:
        plain = value[1:-1] if value[0] in "\"'" and value[-1] == value[0] else value
        return Override(tuple(path.split(".")), plain, f"--over {path}={value}", literal=True)
    return parse_set(f"{path}={value}", "--over")


def _names(values: Sequence[str]) -> dict[str, str]:
    """Short names of the values where these differ, else longer ones."""
    short = {value: _short(value) for value in values}
    if len(set(short.values())) == len(short):
        return short
    return {value: _UNSAFE.sub("-", value).strip("-")[-_LONGEST:] or "value" for value in values}


def _short(value: str) -> str:
    """A value as part of a folder's name: of a path only the file's name without its ending."""
    if re.fullmatch(r"[^\[\]{}]*\.(pt|safetensors|yaml)", value):
        value = Path(value).stem
    return _UNSAFE.sub("-", value).strip("-")[:_LONGEST] or "value"


def sweep(
    grid: Sequence[Point], output: Path, device: str, command: str, sort: str, progress: Progress, *, force: bool
) -> tuple[Outcome, ...]:
    """Run every point that is not done, then compare all.

    Args:
        grid: the points.
        output: folder of the sweep; finished runs in it stay where all that they depend on is the same.
        device: where to run.
        command: for the records.
        sort: of the comparison's lines.
        progress: told of every step.
        force: replace runs of other input.

    Raises:
        OutputError: O601 a run of other input is there; O602, O603, O604 see `compressor.files.writing`.
    """
    with claimed(output):
        return _sweep(grid, output, device, command, sort, progress, force=force)


def _sweep(
    grid: Sequence[Point], output: Path, device: str, command: str, sort: str, progress: Progress, *, force: bool
) -> tuple[Outcome, ...]:
    _check_folder(output)
    for name in (RECORD, PAGE, PLOT):
        recover(output / name, output)
    earlier = _Earlier(select_device(device), progress)
    done = {point.name: earlier.run(point, output / point.name, force=force) for point in grid}
    _write(output, {RECORD: json.dumps({"schema": SWEEP_SCHEMA}) + "\n"}, progress)
    outcomes = []
    for number, point in enumerate(grid, start=1):
        record, fault = done[point.name], None
        if record is None:
            options = Options(
                output / point.name, device, force=force, resume=True, command=command, baselines=output / BASELINES
            )
            progress.section(f"run {number} of {len(grid)}: {point.name}")
            try:
                record = run(point.recipe_file, options, progress)
            except CompressorError as caught:
                fault = caught
        outcomes.append(Outcome(point.name, record, fault))
    lines = overview([(outcome.name, outcome.record) for outcome in outcomes if outcome.record], sort)
    if lines:
        page = overview_markdown(lines, f"{output.name}: {len(lines)} runs", PLOT)
        _write(output, {PAGE: page, PLOT: pareto_png(lines)}, progress)
    return tuple(outcomes)


def _check_folder(output: Path) -> None:
    """Refuse a folder with things in it that no sweep wrote.

    Raises:
        OutputError: O603.
    """
    if not output.exists():
        return
    names = [file.name for file in output.iterdir()] if output.is_dir() else [output.name]
    if all(name.startswith(".") and name.endswith(".partial") for name in names):  # a sweep that was killed at once
        return
    try:
        known = json.loads((output / RECORD).read_bytes())["schema"] == SWEEP_SCHEMA
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        message, help_text = "there is something here that is not a sweep", "name another folder with --output"
        raise OutputError(Diagnostic("O603", message, str(output), help=help_text))


class _Earlier:
    """Finds the finished runs of points; what several depend on is read once.

    Args:
        device: of the sweep.
        progress: told of reading.
    """

    def __init__(self, device: torch.device, progress: Progress) -> None:
        self.inputs = Inputs(device)
        self.progress = progress
        self.splits: dict[tuple[str, str], Split] = {}

    def run(self, point: Point, folder: Path, *, force: bool) -> RunRecord | None:
        """The run of just this point, where everything that it depends on is still the same; None where there is none.

        Raises:
            OutputError: O601 something else is in its folder, and it may not be replaced.
        """
        if not folder.exists():
            return None
        try:
            record = load_run(folder)
            other = differences(record.inputs, self._inputs(point.recipe_file))
        except (InputError, DownloadError, OSError):  # a run will tell what it is
            record, other = None, ["input"]
        if record is not None and not other and (folder / MODEL).is_file():
            return record
        if not force:
            what = f"a run of other {', '.join(other)}" if other else f"a run without its {MODEL}"
            help_text = "name another folder with --output, or replace the run with --force"
            raise OutputError(Diagnostic("O601", f"{what} is here", str(folder), help=help_text))
        return None

    def _inputs(self, recipe_file: RecipeFile) -> dict[str, str]:
        recipe = recipe_file.recipe
        data, split = str(recipe.data), recipe.evaluation.split
        if (data, split) not in self.splits:
            self.splits[data, split] = read_told(load_dataset(data), split, self.progress)
        return self.inputs.of(recipe_file, self.splits[data, split], [*filter(None, report_files(recipe_file))])


def _write(output: Path, files: dict[str, str | bytes], progress: Progress) -> None:
    for name, content in files.items():
        with staged(output / name) as aside:
            made = aside / name
            made.write_bytes(content.encode() if isinstance(content, str) else content)
            put(made, output / name, progress)
