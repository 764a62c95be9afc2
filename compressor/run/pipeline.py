"""The run, from recipe to report, in the order it happens. Read this file first.

recipe -> weights -> plan -> evaluator -> modify -> save -> evaluator what was saved -> export -> report
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from compressor.artifact.load import fetch_and_load
from compressor.data.batches import fit_image_size
from compressor.errors import Diagnostic, InputError
from compressor.evaluation.network import inference_network
from compressor.evaluation.predict import select_device
from compressor.export.open import is_graph, open_network
from compressor.models.families import family_of
from compressor.modifiers.steps import titles
from compressor.plan.layers import convolutions
from compressor.progress import Ledger, Progress
from compressor.recipe.load import RecipeFile
from compressor.recipe.schema import Evaluation as Settings
from compressor.results.evaluation import Evaluation
from compressor.results.network import ModelSummary
from compressor.results.plan import Plan, PredictedSize
from compressor.results.run import RunRecord
from compressor.run.environment import surroundings
from compressor.run.exports import export_run
from compressor.run.folder import written_aside
from compressor.run.forecast import Known, forecast_sizes, forecast_times
from compressor.run.job import Job, check_unseen, predict, storage
from compressor.run.readiness import Options, Refusals, check_budget, make_ready, open_evaluator
from compressor.run.record import Findings, origin_of, record_of, sparsity_of
from compressor.run.report import write_report
from compressor.run.search import Seeker, search
from compressor.run.stages import Workspace, compare, compress, evaluate_after, evaluate_before, settle, shipped

__all__ = ["Options", "evaluate", "plan", "run"]


def run(recipe_file: RecipeFile, options: Options, progress: Progress) -> RunRecord:
    """Apply a recipe and write the run folder.

    Everything is written into a folder beside the final one, which takes its place at the very end.

    Raises:
        CompressorError: any error, of the input or of the run; the output folder is then as it was.
    """
    started, ledger = datetime.now(UTC), Ledger(progress)
    ready = make_ready(recipe_file, options, ledger, Refusals(gather=False))
    origin = origin_of(recipe_file, ready, ledger)
    aside = written_aside(options.output, force=options.force, resume=options.resume, progress=ledger)
    with aside as (folder, steps):
        steps.facts.update(surroundings(ready.device))
        at = Workspace(ready, folder, steps, ledger)
        before = evaluate_before(at, options.baselines)
        job, sought = settle(at, before)
        made = compress(at, job)
        after = evaluate_after(at, made)
        timing = compare(at, before, after)
        exports = export_run(ready.job.recipe.exports, shipped(at, made, after), folder, steps, ledger)
        found = Findings(origin, job, sought, made, before, after, timing, exports)
        record = record_of(found, ready, name=recipe_file.name, command=options.command, started=started)
        return write_report(record, folder, ready.template, ledger)


def plan(recipe_file: RecipeFile, options: Options, progress: Progress, *, timed: bool = True) -> Plan:
    """What `run` would change and give, about how long it would take, and what it would refuse; no file is changed.

    Args:
        recipe_file: the recipe.
        options: those that the run would be given.
        progress: receives every step.
        timed: estimate the times, for which the network is run on one image.

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
        job, _ = search(Seeker(job, images, chosen, progress), budget, None, None)
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
        times = forecast_times(recipe, model, known, chosen) if timed else ()
        sparsity_after = sparsity_of(model, layers, changes)
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
    """Evaluate a weights file of any kind, or a graph of any runtime.

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
                raise InputError(Diagnostic("U909", message, "--precision", help="evaluate it without --precision"))
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


def _bytes_to_compress(job: Job, sizes: Sequence[PredictedSize]) -> tuple[int, ...]:
    """Of the four files that a run weighs: the source, two dense ones and the artifact."""
    asked = {(each.dtype, each.layout): each.size_bytes for each in sizes}
    artifact = job.recipe.artifact
    own = asked[artifact.dtype, artifact.layout]
    return (job.path.stat().st_size, asked["float32", "dense"], asked[artifact.dtype, "dense"], own)
