"""Everything about one run: run.json in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from compressor.errors import Diagnostic, InputError, first_line
from compressor.files.reading import MEGABYTE, file_bytes
from compressor.recipe.gates import parse_gate
from compressor.results.evaluation import CocoMetrics, Evaluation
from compressor.results.files import FileDigest, Sizes
from compressor.results.gates import Verdict
from compressor.results.network import Change, LayerSparsity, ModelSummary, SparsitySummary

RUN_SCHEMA = "compressor/run/1"
_MOST_BYTES = 64 * MEGABYTE


@dataclass(frozen=True)
class Try:
    """One sparsity that a search tried.

    Attributes:
        sparsity: fraction of the targeted weights; None is the model before the modifiers.
        AP: on `images` images; None where the search is for a size.
        images: how many it was judged on.
        size_bytes: of the file; None where the search is for AP.
    """

    sparsity: float | None
    AP: float | None = None
    images: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Search:
    """How a budget became a sparsity.

    Attributes:
        modifier: index of the modifier that asks for it.
        goal: the budget as a phrase.
        sparsity: what was found.
        baseline_AP: of the model before the modifiers, on all images; None where the search is for a size.
        tries: in their order.
    """

    modifier: int
    goal: str
    sparsity: float
    baseline_AP: float | None
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class Agreement:
    """How far an exported file is from the model.

    Attributes:
        images: compared on.
        pixels: largest difference of a coordinate.
        probability: largest difference of a score; in older files of an objectness or class probability.
    """

    images: int
    pixels: float
    probability: float


@dataclass(frozen=True)
class Exported:
    """The model in the format of another tool.

    Attributes:
        format: of `compressor export`.
        path: name of the file or folder in the run folder.
        size_bytes: of the file, or of all in the folder.
        agreement: with the artifact, on images; None where suppression left nothing to compare.
        evaluation: by its own runtime; None where that was not asked for.
        model: the artifact by torch, evaluated just as the file was, on the same shapes, at the same thresholds and in
            the same number type; None where the run's `compressed` is that already, and in what earlier versions wrote.
    """

    format: str
    path: str
    size_bytes: int
    agreement: Agreement | None
    evaluation: Evaluation | None
    model: Evaluation | None = None


@dataclass(frozen=True)
class Timing:
    """Inference of one image by the model before and the model after, in turns.

    Attributes:
        image_size: side in pixels of the square image.
        before_ms: of every turn.
        after_ms: likewise; the two of one turn follow each other at once.
    """

    image_size: int
    before_ms: tuple[float, ...]
    after_ms: tuple[float, ...]


@dataclass(frozen=True)
class Reference:
    """Another model on the same data, to judge by.

    Attributes:
        name: of the model.
        source: where the figures come from.
        metrics: what is known of it.
    """

    name: str
    source: str
    metrics: CocoMetrics


@dataclass(frozen=True)
class Environment:
    """Where a run was made."""

    compressor: str
    python: str
    platform: str
    processor: str
    cores: int
    device: str
    packages: dict[str, str]


@dataclass(frozen=True)
class StepTime:
    """What one step of a run took, all its times together.

    Attributes:
        name: as it was told while the run worked; empty for what belongs to no step.
        wall_s: seconds that passed; a step within another one counts for itself alone.
        cpu_s: seconds that processors worked, all threads together.
    """

    name: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class RunRecord:
    """Everything about one run: what report.md is rendered from and run.json holds.

    Attributes:
        name: the recipe's file name without its ending.
        command: the command line.
        schema: of this document.
        started: UTC time, ISO 8601.
        duration_s: wall time of the run in seconds, without writing report and record.
        recipe: the resolved recipe, after extends and overrides.
        weights: the source checkpoint.
        model: the model the modifiers were given.
        compressed_model: the model that was saved.
        changes: one per modifier, in order.
        layers: every convolution of the finished model.
        baseline: judgement before the modifiers, None when it was not asked for.
        compressed: judgement after them, None with `--no-evaluate`.
        search: how a budget in the recipe became the sparsity that `recipe` holds; None where there is none.
        exports: the model in other formats, as the recipe names them.
        gates: what became of the recipe's `report.fail_if`.
        reference: a smaller model on the same data; None where no figures of one are known.
        timing: of the two models in turns; None where only one was judged.
        steps: where the time went, in order; together they are `duration_s`. Empty in runs of earlier versions.
        warnings: everything skipped, amended or left out, one sentence each.
        files: what the run wrote, by path within its folder, but for report.md and run.json.
        report_sha256: of report.md as the run wrote it; empty in runs of earlier versions.
        inputs: digests of all that the run depends on, by name; none in runs of earlier versions.
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
    schema: str = field(default=RUN_SCHEMA)


def load_run(path: Path) -> RunRecord:
    """Read a run folder, or a run.json.

    Raises:
        InputError: U901 no such run; U902 not a run.json this version reads.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        record = _RUN.validate_python(from_json(file_bytes(file, _MOST_BYTES), allow_inf_nan=False))
        _check(record)
    except OSError as fault:
        help_text = "name a folder that `compressor apply` wrote, or its run.json"
        raise InputError(
            Diagnostic("U901", f"no run here: {fault.strerror or fault}", str(file), help=help_text)
        ) from fault
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _not_read(file, f"not a run record: {_reason(error)}") from error
    if record.schema != RUN_SCHEMA:
        raise _not_read(file, f"schema {record.schema!r}, this version reads {RUN_SCHEMA!r}")
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
    """Refuse what no run has, though its types are right.

    Raises:
        ValueError, LookupError, TypeError: with the first that is wrong.
    """
    if not all(isinstance(record.recipe["artifact"][key], str) for key in ("dtype", "layout")):
        raise ValueError("recipe.artifact names no dtype or layout")
    if not isinstance(record.recipe["description"], str):
        raise ValueError("recipe.description is no text")
    sizes = (record.sizes.source, record.sizes.dense_float32, record.sizes.dense, record.sizes.artifact)
    if not all(0 < number < _LARGEST for size in sizes for number in (size.size_bytes, size.gzip_bytes)):
        raise ValueError("a size in sizes is no number of bytes")
    if record.timing and len(record.timing.before_ms) != len(record.timing.after_ms):
        raise ValueError("timing has more turns of one model than of the other")
    if record.steps and not sum(step.wall_s for step in record.steps) > 0:
        raise ValueError("the steps took no time")
    for verdict in record.gates:
        parse_gate(verdict.gate)


_LARGEST = 2**63  # bytes
_RUN = TypeAdapter(RunRecord)
