"""The run, from recipe to report, in the order it happens. Read this file first.

recipe -> weights -> plan -> evaluator -> modify -> save -> evaluator what was saved -> export -> report
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from compressor.artifact.load import LoadedModel, fetch_and_load
from compressor.artifact.save import measure
from compressor.data.batches import fit_image_size
from compressor.data.calibration import load_images
from compressor.errors import Diagnostic, InputError
from compressor.evaluation.coco import write_predictions
from compressor.evaluation.evaluate import Evaluator
from compressor.evaluation.examples import examples_png
from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.predict import select_device
from compressor.evaluation.timing import time_in_turns
from compressor.export.open import is_graph, open_network
from compressor.models.detector import Detector, sparsity
from compressor.models.families import family_of
from compressor.models.strides import image_step
from compressor.modifiers.steps import titles
from compressor.plan.layers import Layer, convolutions
from compressor.progress import Ledger, Progress
from compressor.recipe.load import RecipeFile
from compressor.recipe.schema import Evaluation as Settings
from compressor.recipe.schema import Recipe
from compressor.report.pictures import EXAMPLES
from compressor.report.reference import published_reference
from compressor.results.changes import Change
from compressor.results.evaluation import Evaluation
from compressor.results.files import FileDigest
from compressor.results.gates import verdicts
from compressor.results.network import ModelSummary, SparsitySummary, summed_up
from compressor.results.plan import Plan, PredictedSize
from compressor.results.run import Exported, RunRecord, Timing
from compressor.run.environment import describe_environment, surroundings
from compressor.run.exports import Shipped, cautions, compared_on, export_run
from compressor.run.folder import (
    MODEL,
    PREDICTIONS_AFTER,
    PREDICTIONS_BEFORE,
    sha256,
    written_aside,
)
from compressor.run.forecast import Known, forecast_sizes, forecast_times
from compressor.run.inputs import Inputs
from compressor.run.job import Job, check_unseen, predict, storage
from compressor.run.readiness import Options, Refusals, check_budget, make_ready, open_evaluator
from compressor.run.report import write_report
from compressor.run.stages import Evaluated, compress, evaluate_after, evaluate_before, settle

__all__ = ["Options", "evaluate", "plan", "run"]


def run(recipe_file: RecipeFile, options: Options, progress: Progress) -> RunRecord:
    """Apply a recipe and write the run folder.

    Everything is written into a folder beside the final one, which takes its place at the very end.

    Raises:
        CompressorError: any fault, of the input or of the run; the output folder is then as it was.
    """
    started = datetime.now(UTC)
    progress = ledger = Ledger(progress)
    ready = make_ready(recipe_file, options, progress, Refusals(gather=False))
    recipe, job, evaluator, device, images = recipe_file.recipe, ready.job, ready.evaluator, ready.device, ready.images
    with progress.step("describe the model"):
        summary_before = family_of(job.model).summarise(job.model)
        weights = FileDigest(str(recipe.model.weights), job.path.stat().st_size, job.weights_sha256)
    inputs = Inputs(device, {job.path: job.weights_sha256})
    depends_on = inputs.of(recipe_file, evaluator.split if evaluator else None, ready.report_files)
    environment = describe_environment(device)
    aside = written_aside(options.output, force=options.force, resume=options.resume, progress=progress)
    with aside as (staging, steps):
        steps.facts.update(surroundings(device))
        before, search = None, None
        if evaluator and recipe.evaluation.baseline:
            before = evaluate_before(evaluator, job.model, options.baselines, steps, progress)
            write_predictions(before.predictions, evaluator.ground_truth.category_ids, staging / PREDICTIONS_BEFORE)
        baseline = before.evaluation if before else None
        if ready.budget is not None:
            job, search = settle(job, ready.budget, evaluator, baseline, images, device, progress, steps)
        saved, changes, warnings = compress(job, images, device, staging, steps, progress)
        model = saved.model
        with progress.step("measure sizes"):
            made = (saved.origin.form, saved.origin.provenance) if saved.origin else None
            artifact = (staging / MODEL).read_bytes()
            sizes = measure(job.path.read_bytes(), saved.stored, artifact, recipe.artifact.dtype, made)
        compressed, reference, timing = None, ready.reference, None
        if evaluator:
            network = evaluator.network(model)
            after = evaluate_after(evaluator, network, model, steps, progress)
            compressed = after.evaluation
            write_predictions(after.predictions, evaluator.ground_truth.category_ids, staging / PREDICTIONS_AFTER)
            reference = reference or published_reference(summary_before, compressed.data, compressed.settings)
            timing = _compared(evaluator, before, after, recipe.report.examples, staging, progress) if before else None
        on = compared_on(evaluator, recipe.data, recipe.evaluation) if recipe.exports else ()
        shipped = Shipped(saved, sha256(staging / MODEL), recipe.evaluation, evaluator, compressed, on)
        exports = export_run(recipe.exports, shipped, staging, steps, progress)
        layers = convolutions(model)
        skipped = evaluator.warnings if evaluator else _unused(recipe)
        size = sizes.artifact.size_bytes / sizes.dense.size_bytes
        record = RunRecord(
            name=recipe_file.name,
            command=options.command,
            started=started.isoformat(timespec="seconds"),
            duration_s=0.0,  # told last, as are steps and files
            recipe=job.recipe.model_dump(mode="json"),
            weights=weights,
            model=summary_before,
            compressed_model=family_of(model).summarise(model),
            changes=changes,
            layers=tuple(layer.summary for layer in layers),
            sparsity=_sparsity(model, layers, changes),
            sizes=sizes,
            baseline=baseline,
            compressed=compressed,
            environment=environment,
            search=search,
            exports=exports,
            gates=verdicts(recipe.report.fail_if, baseline, compressed, size),
            reference=reference,
            timing=timing,
            inputs=depends_on,
            warnings=(
                *job.warnings,
                *images.warnings,
                *warnings,
                *(before.warnings if before else ()),
                *uncompared(exports),
                *_cautions(exports, saved),
                *skipped,
            ),
        )
        return write_report(record, staging, ready.template, ledger)


def _cautions(exports: tuple[Exported, ...], saved: LoadedModel) -> list[str]:
    return [f"{export.path}: {told}" for export in exports for told in cautions(export.format, saved)]


def plan(recipe_file: RecipeFile, options: Options, progress: Progress) -> Plan:
    """What `run` would change and give, about how long it would take, and what it would refuse; no file is changed.

    Raises:
        CompressorError: any fault of the recipe, the weights, or of the two together.
    """
    refusals, clock = Refusals(gather=True), time.perf_counter()
    ready = make_ready(recipe_file, options, progress, refusals)
    job, chosen, images, budget = ready.job, ready.device, ready.images, ready.budget
    summary = family_of(job.model).summarise(job.model)
    open_s, clock = time.perf_counter() - clock, time.perf_counter()
    if budget is not None:
        check_budget(job, judged=False)
        job, _ = settle(job, budget, None, None, images, chosen, progress)
    search_s, clock = time.perf_counter() - clock, time.perf_counter()
    modified = predict(job, images, chosen, progress)  # of the model in memory
    changes = modified.changes
    modify_s = time.perf_counter() - clock
    recipe, model, layers = job.recipe, modified.state.model, convolutions(modified.state.model)
    zeros = {layer.name: layer.zeros for layer in layers}
    image_size = fit_image_size(recipe.evaluation.image_size, max(model.strides))
    with progress.step("forecast"):
        sizes = forecast_sizes(recipe, job.path.name, job.unfused, modified.state, zeros)
        known = Known(
            open_s,
            None if budget is None else search_s,
            modify_s,
            (*titles(recipe.modifiers), *images.titles),
            _bytes_to_compress(job, sizes),
            options.evaluate,
            ready.images_evaluated,
        )
        times = forecast_times(recipe, model, known, chosen)
        sparsity_after = _sparsity(model, layers, changes)
        storage(job, modified)  # refuses what the file cannot hold
    return Plan(
        model=summary,
        steps=changes,
        sparsity=sparsity_after,
        image_size=image_size,
        macs={layer.name: layer.convolution.macs(image_size) for layer in layers},
        sizes=sizes,
        dtype=recipe.artifact.dtype,
        layout=recipe.artifact.layout,
        times=times,
        refused=tuple(each for refusal in refusals.found for each in refusal.diagnostics),
        warnings=(*job.warnings, *images.warnings, *(ready.evaluator.warnings if ready.evaluator else ())),
    )


def evaluate(
    weights: str, data: str, settings: Settings, device: str, progress: Progress, *, seen: bool = False
) -> tuple[ModelSummary | None, Evaluation, tuple[str, ...]]:
    """Evaluator a weights file of any kind, or a graph of any runtime.

    Returns:
        What model it is, where the file tells; its evaluation; and a sentence for what the file does not tell and was
        assumed.

    Raises:
        CompressorError: any fault of the input or of the run.
    """
    chosen = select_device(device)
    summary, recipe = None, None
    assumed: tuple[str, ...] = ()
    with progress.step(f"load {weights}"):
        if is_graph(Path(weights)):
            if settings.precision != "auto":
                message = f"{settings.precision} is for models that torch runs; a graph runs in its own number type"
                raise InputError(Diagnostic("U909", message, "--precision", help="evaluator it without --precision"))
            network = open_network(Path(weights), chosen)
        else:
            loaded = fetch_and_load(weights, progress)[1]
            summary, recipe, assumed = family_of(loaded.model).summarise(loaded.model), loaded.recipe, loaded.warnings
            network = inference_network(loaded.model, chosen, settings.precision)
    evaluator = open_evaluator(data, settings, network.names, chosen, progress)
    if not seen:
        check_unseen(recipe, [sample.image for sample in evaluator.split.samples], data)
    evaluation, _ = evaluator.evaluate(network, progress, "evaluate")
    return summary, evaluation, assumed


def _timed(evaluator: Evaluator, before: Network, after: Network, progress: Progress) -> Timing:
    size = fit_image_size(evaluator.settings.image_size, image_step(after.strides))
    image = load_images([evaluator.split.samples[0].image], size)
    with progress.step("time both in turns"):
        return time_in_turns(before, after, image)


def _compared(
    evaluator: Evaluator, before: Evaluated, after: Evaluated, examples: int, folder: Path, progress: Progress
) -> Timing:
    """Time the two models in turns, and show what each finds on some images."""
    timing = _timed(evaluator, before.network, after.network, progress)
    if examples:
        found = before.predictions, after.predictions
        page = examples_png(
            evaluator.split.samples, evaluator.ground_truth.image_ids, *found, examples, after.network.names
        )
        if page is not None:
            (folder / EXAMPLES).write_bytes(page)
    return timing


def _unused(recipe: Recipe) -> tuple[str, ...]:
    told = f"{recipe.report.reference} was not used as a reference: nothing was judged"
    return (told,) if recipe.report.reference else ()


def uncompared(exports: tuple[Exported, ...]) -> list[str]:
    """A warning for every exported file that was compared with nothing."""
    paths = [export.path for export in exports if export.agreement is None]
    return [f"{path} was not compared with the model: neither detects anything on the images" for path in paths]


def _sparsity(model: Detector, layers: tuple[Layer, ...], changes: tuple[Change, ...]) -> SparsitySummary:
    return summed_up(tuple(layer.summary for layer in layers), changes, sparsity(model))


def _bytes_to_compress(job: Job, sizes: Sequence[PredictedSize]) -> tuple[int, ...]:
    """Of the four files that a run weighs: the source, two dense ones and the artifact."""
    asked = {(each.dtype, each.layout): each.size_bytes for each in sizes}
    artifact = job.recipe.artifact
    own = asked[artifact.dtype, artifact.layout]
    return (job.path.stat().st_size, asked["float32", "dense"], asked[artifact.dtype, "dense"], own)
