"""The record of a run, written to run.json and read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from compressor.errors import Diagnostic, InputError, first_line
from compressor.files.reading import MEGABYTE, file_bytes
from compressor.recipe.gates import parse_gate
from compressor.results.changes import Change
from compressor.results.evaluation import CocoMetrics, Evaluation
from compressor.results.files import FileDigest, Sizes
from compressor.results.gates import Verdict
from compressor.results.network import LayerSparsity, ModelSummary, SparsitySummary

RUN_SCHEMA = "compressor/run/2"  # what this version writes
READ = ("compressor/run/1", RUN_SCHEMA)  # what it reads: a key that an older one lacks has its default
_MOST_BYTES = 64 * MEGABYTE


@dataclass(frozen=True)
class Try:
    """One sparsity that a search tried.

    Attributes:
        sparsity: fraction of the targeted weights; None is the model before the modifiers.
        AP: on `images` images; None if the search is for a size.
        images: number of images it was evaluated on.
        size_bytes: of the file; None if the search is for AP.
    """

    sparsity: float | None
    AP: float | None = None
    images: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Search:
    """The search for the sparsity that meets a budget.

    Attributes:
        modifier: index of the modifier with the budget.
        goal: the budget as a phrase.
        sparsity: the result.
        baseline_AP: of the model before the modifiers, on all images; None if the search is for a size.
        tries: in the order of the search.
    """

    modifier: int
    goal: str
    sparsity: float
    baseline_AP: float | None
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class Agreement:
    """Differences between an exported file's outputs and the model's.

    Attributes:
        images: number of images compared.
        pixels: largest difference of a coordinate.
        probability: largest difference of a score; in older files of an objectness or class probability.
    """

    images: int
    pixels: float
    probability: float


@dataclass(frozen=True)
class Exported:
    """An exported file: the model in the format of another tool.

    Attributes:
        format: of `compressor export`.
        path: name of the file or folder in the run folder.
        size_bytes: of the file, or of all files in the folder.
        agreement: with the artifact, on images; None if suppression left nothing to compare.
        evaluation: by its own runtime; None if it was not asked for.
        model: the artifact by torch, evaluated with the same shapes, thresholds and number type as the file; None if
            the run's `compressed` was evaluated so already, and in records of earlier versions.
    """

    format: str
    path: str
    size_bytes: int
    agreement: Agreement | None
    evaluation: Evaluation | None
    model: Evaluation | None = None


@dataclass(frozen=True)
class Timing:
    """Times of inference of one image by the model before and the model after, in turns.

    Attributes:
        image_size: side in pixels of the square image.
        before_ms: one time per turn.
        after_ms: one time per turn, measured directly before or after that in `before_ms`.
    """

    image_size: int
    before_ms: tuple[float, ...]
    after_ms: tuple[float, ...]


@dataclass(frozen=True)
class Reference:
    """Figures of another model on the same data, to compare with.

    Attributes:
        name: of the model.
        source: of the figures.
        metrics: its known figures.
    """

    name: str
    source: str
    metrics: CocoMetrics


@dataclass(frozen=True)
class Environment:
    """The machine and the software of a run."""

    compressor: str
    python: str
    platform: str
    processor: str
    cores: int
    device: str
    packages: dict[str, str]


@dataclass(frozen=True)
class StepTime:
    """Time of one step of a run, summed if it ran several times.

    Attributes:
        name: as progress was reported; empty for time outside of all steps.
        wall_s: elapsed seconds, without those of steps within it.
        cpu_s: seconds of CPU time, summed over all threads.
    """

    name: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class RunRecord:
    """Everything about one run: the contents of run.json, from which report.md is rendered.

    Attributes:
        name: the recipe's file name without its ending.
        command: the command line.
        schema: of this document, by the version that wrote it; an earlier one is read too, and stays what it is.
        started: UTC time, ISO 8601.
        duration_s: wall time of the run in seconds, without writing report and record.
        recipe: the resolved recipe, after extends and overrides.
        weights: the source checkpoint.
        model: the model before the modifiers.
        compressed_model: the model that was saved.
        changes: one per modifier, in order.
        layers: every convolution of the finished model.
        baseline: evaluation before the modifiers; None if it was not asked for.
        compressed: evaluation after them; None with `--no-evaluate`.
        search: how the sparsity in `recipe` was found from a budget; None if the recipe has no budget.
        exports: the exported files, in the order of the recipe.
        gates: results of the recipe's `report.fail_if`.
        reference: a smaller model on the same data; None if no figures of one are known.
        timing: of the two models in turns; None if only one was evaluated.
        steps: the time of each step, in order; their sum is `duration_s`. Empty in runs of earlier versions.
        warnings: everything that was skipped, corrected or left out, one sentence each.
        files: files that the run wrote, by path within its folder, without report.md and run.json.
        report_sha256: of report.md as the run wrote it; empty in runs of earlier versions.
        inputs: digests of everything that the run depends on, by name; empty in runs of earlier versions.
    """

    name: str
    command: str
    started: str
    duration_s: float
    recipe: dict[str, Any]
    weights: FileDigest
    model: ModelSummary
    compressed_model: ModelSummary
    changes: tuple[Change, ...]
    layers: tuple[LayerSparsity, ...]
    sparsity: SparsitySummary
    sizes: Sizes
    baseline: Evaluation | None
    compressed: Evaluation | None
    environment: Environment
    search: Search | None = None
    exports: tuple[Exported, ...] = ()
    gates: tuple[Verdict, ...] = ()
    reference: Reference | None = None
    timing: Timing | None = None
    steps: tuple[StepTime, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[FileDigest, ...] = ()
    report_sha256: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    schema: Annotated[str, Field(description=f"one of {', '.join(READ)}; the last is what this version writes")] = (
        RUN_SCHEMA
    )


def load_run(path: Path) -> RunRecord:
    """Read a run folder, or a run.json.

    Raises:
        InputError: U901 there is no such run; U902 it is not a run.json that this version reads.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        document = from_json(file_bytes(file, _MOST_BYTES), allow_inf_nan=False)
        if isinstance(document, dict) and document.get("schema", RUN_SCHEMA) not in READ:
            raise _not_read(file, f"schema {document['schema']!r}, this version reads {' and '.join(READ)}")
        record = _RUN.validate_python(document)
        _check(record)
    except OSError as error:
        help_text = "name a folder that `compressor apply` wrote, or its run.json"
        raise InputError(
            Diagnostic("U901", f"no run here: {error.strerror or error}", str(file), help=help_text)
        ) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _not_read(file, f"not a run record: {_reason(error)}") from error
    return record


def _not_read(file: Path, message: str) -> InputError:
    return InputError(Diagnostic("U902", message, str(file), help="run `compressor apply` again"))


def _reason(error: Exception) -> str:
    """Why a document is not a run record, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place or 'the document'}: {first['msg']}"
    return first_line(error)


def _check(record: RunRecord) -> None:
    """Refuse values that no run has, though their types are right.

    Raises:
        ValueError, LookupError, TypeError: about the first wrong value.
    """
    if not all(isinstance(record.recipe["artifact"][key], str) for key in ("dtype", "layout")):
        raise ValueError("recipe.artifact names no dtype or layout")
    if not isinstance(record.recipe["description"], str):
        raise ValueError("recipe.description is not text")
    sizes = (record.sizes.source, record.sizes.dense_float32, record.sizes.dense, record.sizes.artifact)
    if not all(0 < number < _LARGEST for size in sizes for number in (size.size_bytes, size.gzip_bytes)):
        raise ValueError("a size in sizes is not a number of bytes")
    if record.timing and len(record.timing.before_ms) != len(record.timing.after_ms):
        raise ValueError("timing has more turns of one model than of the other")
    if record.steps and not sum(step.wall_s for step in record.steps) > 0:
        raise ValueError("the steps took no time")
    for verdict in record.gates:
        parse_gate(verdict.gate)


_LARGEST = 2**63  # bytes
_RUN = TypeAdapter(RunRecord)
