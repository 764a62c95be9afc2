"""The record of a run, made of what its stages found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from compressor.models.detector import Detector, sparsity
from compressor.models.families import family_of
from compressor.plan.layers import Layer, convolutions
from compressor.progress import Progress
from compressor.recipe.load import RecipeFile
from compressor.recipe.schema import Recipe
from compressor.report.reference import published_reference
from compressor.results.changes import Change
from compressor.results.files import FileDigest
from compressor.results.gates import verdicts
from compressor.results.network import ModelSummary, SparsitySummary, summed_up
from compressor.results.run import Environment, Exported, Reference, RunRecord, Search, Timing
from compressor.run.environment import describe_environment
from compressor.run.exports import cautions
from compressor.run.inputs import Inputs
from compressor.run.job import Job
from compressor.run.readiness import Ready
from compressor.run.stages import Evaluated, Made


@dataclass(frozen=True)
class Origin:
    """What a run starts from.

    Attributes:
        model: before the modifiers.
        weights: the file that it was read from.
        inputs: digests of all that the run depends on.
        environment: machine and packages.
    """

    model: ModelSummary
    weights: FileDigest
    inputs: dict[str, str]
    environment: Environment


def origin_of(recipe_file: RecipeFile, ready: Ready, progress: Progress) -> Origin:
    """What a run starts from, described before anything is changed."""
    job, evaluator = ready.job, ready.evaluator
    with progress.step("describe the model"):
        summary = family_of(job.model).summarise(job.model)
        path = str(recipe_file.recipe.model.weights)
        weights = FileDigest(path, job.path.stat().st_size, job.weights_sha256)
    inputs = Inputs(ready.device, {job.path: job.weights_sha256})
    depends_on = inputs.of(recipe_file, evaluator.split if evaluator else None, ready.report_files)
    return Origin(summary, weights, depends_on, describe_environment(ready.device))


@dataclass(frozen=True, eq=False)
class Findings:
    """What the stages of a run found; None of those that were left out.

    Attributes:
        origin: what it started from.
        job: with a number in place of every goal.
        search: how that was found.
        made: the compressed model.
        before: the model before the modifiers, evaluated.
        after: the compressed model, evaluated.
        timing: of both in turns.
        exports: the files in other formats.
    """

    origin: Origin
    job: Job
    search: Search | None
    made: Made
    before: Evaluated | None
    after: Evaluated | None
    timing: Timing | None
    exports: tuple[Exported, ...]


def record_of(found: Findings, ready: Ready, *, name: str, command: str, started: datetime) -> RunRecord:
    """The record of a run, but for its times and files, which are known last."""
    made, recipe, model = found.made, ready.job.recipe, found.made.saved.model
    layers = convolutions(model)
    baseline = found.before.evaluation if found.before else None
    compressed = found.after.evaluation if found.after else None
    size = made.sizes.artifact.size_bytes / made.sizes.dense.size_bytes
    return RunRecord(
        name=name,
        command=command,
        started=started.isoformat(timespec="seconds"),
        duration_s=0.0,
        recipe=found.job.recipe.model_dump(mode="json"),
        weights=found.origin.weights,
        model=found.origin.model,
        compressed_model=family_of(model).summarise(model),
        changes=made.changes,
        layers=tuple(layer.summary for layer in layers),
        sparsity=sparsity_of(model, layers, made.changes),
        sizes=made.sizes,
        baseline=baseline,
        compressed=compressed,
        environment=found.origin.environment,
        search=found.search,
        exports=found.exports,
        gates=verdicts(recipe.report.fail_if, baseline, compressed, size),
        reference=_reference(found, ready),
        timing=found.timing,
        inputs=found.origin.inputs,
        warnings=tuple(_warnings(found, ready)),
    )


def sparsity_of(model: Detector, layers: tuple[Layer, ...], changes: tuple[Change, ...]) -> SparsitySummary:
    """The zeros of a finished model."""
    return summed_up(tuple(layer.summary for layer in layers), changes, sparsity(model))


def _reference(found: Findings, ready: Ready) -> Reference | None:
    """The smaller model that the recipe names; or the published one, where that was evaluated in the same way."""
    if ready.reference or found.after is None:
        return ready.reference
    evaluation = found.after.evaluation
    return published_reference(found.origin.model, evaluation.data, evaluation.settings)


def _warnings(found: Findings, ready: Ready) -> list[str]:
    saved = found.made.saved
    exported = [f"{each.path}: {told}" for each in found.exports for told in cautions(each.format, saved)]
    return [
        *found.job.warnings,
        *ready.images.warnings,
        *found.made.warnings,
        *(found.before.warnings if found.before else ()),
        *uncompared(found.exports),
        *exported,
        *(ready.evaluator.warnings if ready.evaluator else _unused(ready.job.recipe)),
    ]


def uncompared(exports: tuple[Exported, ...]) -> list[str]:
    """A warning for every exported file that was compared with nothing."""
    paths = [export.path for export in exports if export.agreement is None]
    return [f"{path} was not compared with the model: neither detects anything on the images" for path in paths]


def _unused(recipe: Recipe) -> tuple[str, ...]:
    told = f"{recipe.report.reference} was not used as a reference: nothing was judged"
    return (told,) if recipe.report.reference else ()
