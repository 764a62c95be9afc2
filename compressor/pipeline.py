"""The run, from recipe to report, in the order it happens. Read this file first.

recipe -> weights -> plan -> judge -> modify -> save -> judge what was saved -> export -> report
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from compressor.artifact.load import LoadedModel, fetch_and_load, stored_tensors
from compressor.artifact.save import Dtype, gzip_size, measure
from compressor.data.batches import fit_image_size
from compressor.data.calibration import load_images
from compressor.data.dataset import load_dataset, read_split
from compressor.environment import describe_environment
from compressor.errors import Diagnostic, InputError, RecipeError
from compressor.evaluation.class_names import check_classes
from compressor.evaluation.coco import write_predictions
from compressor.evaluation.examples import examples_png
from compressor.evaluation.judge import Judge, make_judge
from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.predict import select_device
from compressor.evaluation.timing import time_in_turns
from compressor.export.open import is_graph, open_network
from compressor.forecast import forecast_sizes, forecast_times
from compressor.job import CalibrationImages, Job, check_unseen, foresee, open_job, storage
from compressor.outlook import Plan
from compressor.plan.layers import Layer, convolutions
from compressor.progress import Ledger, Progress
from compressor.recipe.gates import parse_gate
from compressor.recipe.load import RecipeFile
from compressor.recipe.modifiers import Budget, Prune
from compressor.recipe.schema import Evaluation as Settings
from compressor.recipe.schema import Recipe
from compressor.report.pictures import EXAMPLES
from compressor.report.reference import load_reference, published_reference
from compressor.report.render import read_template
from compressor.results.files import FileDigest, Inspection, StoredLayer
from compressor.results.gates import verdicts
from compressor.results.judgement import Evaluation
from compressor.results.network import Change, LayerSparsity, ModelSummary, SparsitySummary, summed_up
from compressor.results.run import Exported, RunRecord, Timing
from compressor.room import check_room
from compressor.run_folder import (
    MODEL,
    PREDICTIONS_AFTER,
    PREDICTIONS_BEFORE,
    check_output,
    sha256,
    written_aside,
)
from compressor.run_report import write_report
from compressor.shipping import cautions, check_runtimes, export_run
from compressor.stages import Judged, compress, judge_after, judge_before, settle
from compressor.yolov5.build import YOLOv5
from compressor.yolov5.describe import sparsity, summarise


@dataclass(frozen=True)
class Options:
    """What the command line adds to a recipe.

    Attributes:
        output: the run folder.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        evaluate: judge the model; False compresses and saves only.
        force: replace an existing run folder.
        resume: go on with what an interrupted run has kept; False starts anew.
        template: of the report, instead of the recipe's.
        baselines: where judgements of models before the modifiers are kept and found again; None judges anew.
        command: the command line, for the record.
    """

    output: Path
    device: str = "auto"
    evaluate: bool = True
    force: bool = False
    resume: bool = False
    template: Path | None = None
    baselines: Path | None = None
    command: str = ""


def run(recipe_file: RecipeFile, options: Options, progress: Progress) -> RunRecord:
    """Apply a recipe and write the run folder.

    Everything is written into a folder beside the final one, which takes its place at the very end.

    Raises:
        CompressorError: any fault, of the input or of the run; the output folder is then as it was.
    """
    started = datetime.now(UTC)
    progress = ledger = Ledger(progress)
    recipe = recipe_file.recipe
    check_output(options.output, force=options.force)
    check_runtimes(export.format for export in recipe.exports)
    template_text, reference_file = _named_files(recipe_file, options)
    if not options.evaluate:
        _check_gates_without_figures(recipe_file)
    device = select_device(options.device)
    job = open_job(recipe_file, progress)
    budget = _budget(job, judged=options.evaluate)
    with progress.step("describe the model"):
        summary_before = summarise(job.model)
        weights = FileDigest(str(recipe.model.weights), job.path.stat().st_size, job.weights_sha256)
    judge = _load_judge(recipe_file, job.model, device, progress) if options.evaluate else None
    images = _images(job, judge, progress)
    images.check()
    reference = None
    if judge and reference_file:
        reference = load_reference(reference_file, judge.way(judge.network(job.model)))

    environment = describe_environment(device)
    aside = written_aside(options.output, force=options.force, resume=options.resume, progress=progress)
    with aside as (staging, steps):
        steps.facts.update(environment=asdict(environment), device=str(device), threads=torch.get_num_threads())
        check_room(job, options.output, steps.folder)
        before, search = None, None
        if judge and recipe.evaluation.baseline:
            before = judge_before(judge, job.model, options.baselines, steps, progress)
            write_predictions(before.predictions, judge.ground_truth.category_ids, staging / PREDICTIONS_BEFORE)
        baseline = before.evaluation if before else None
        if budget is not None:
            job, search = settle(job, budget, judge, baseline, images, device, progress, steps)
        saved, changes, warnings = compress(job, images, device, staging, steps, progress)
        model = saved.model
        with progress.step("measure sizes"):
            sizes = measure(job.path.read_bytes(), saved.stored, (staging / MODEL).read_bytes(), recipe.artifact.dtype)
        compressed, timing = None, None
        if judge:
            network = judge.network(model)
            after = judge_after(judge, network, model, steps, progress)
            compressed = after.evaluation
            write_predictions(after.predictions, judge.ground_truth.category_ids, staging / PREDICTIONS_AFTER)
            reference = reference or published_reference(summary_before, compressed.data, compressed.settings)
            timing = _compared(judge, before, after, recipe.report.examples, staging, progress) if before else None
        exports = export_run(
            recipe.exports,
            saved,
            recipe.evaluation,
            judge,
            compressed,
            recipe.data,
            staging,
            sha256(staging / MODEL),
            steps,
            progress,
        )
        layers = convolutions(model)
        skipped = judge.warnings if judge else _unused(recipe)
        size = sizes.artifact.size_bytes / sizes.dense.size_bytes
        record = RunRecord(
            name=recipe_file.name,
            command=options.command,
            started=started.isoformat(timespec="seconds"),
            duration_s=0.0,  # told last, as are steps and files
            recipe=job.recipe.model_dump(mode="json"),
            weights=weights,
            model=summary_before,
            compressed_model=summarise(model),
            changes=changes,
            layers=tuple(layer_sparsity(layer) for layer in layers),
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
            warnings=(
                *warnings,
                *(before.warnings if before else ()),
                *uncompared(exports),
                *_cautions(exports, saved),
                *skipped,
            ),
        )
        return write_report(record, staging, template_text, ledger)


def _cautions(exports: tuple[Exported, ...], saved: LoadedModel) -> list[str]:
    return [f"{export.path}: {told}" for export in exports for told in cautions(export.format, saved)]


def plan(recipe_file: RecipeFile, device: str, progress: Progress) -> Plan:
    """What `run` would change and give, and about how long it would take; no file is changed.

    Raises:
        CompressorError: any fault of the recipe, the weights, or of the two together.
    """
    check_runtimes(export.format for export in recipe_file.recipe.exports)
    chosen = select_device(device)
    job = open_job(recipe_file, progress)
    images = _images(job, None, progress)
    budget = _budget(job, judged=False)
    if budget is not None:
        job, _ = settle(job, budget, None, None, images, chosen, progress)
    recipe, model, summary = job.recipe, job.model, summarise(job.model)
    clock = time.perf_counter()
    changes = foresee(job, images, chosen, progress)  # of the model in memory
    modify_s = time.perf_counter() - clock
    layers = convolutions(model)
    zeros = {layer.name: layer.zeros for layer in layers}
    image_size = fit_image_size(recipe.evaluation.image_size, max(model.strides))
    with progress.step("forecast"):
        sizes = forecast_sizes(recipe, job.path.name, job.unfused, model, zeros)
        files = [job.path.stat().st_size, *(size.size_bytes for size in sizes if size.layout == "dense")]
        times = forecast_times(recipe, model, modify_s, files, chosen)
        sparsity_after = _sparsity(model, layers, changes)
        storage(job, changes)  # refuses what the file cannot hold
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
    )


def evaluate(
    weights: str, data: str, settings: Settings, device: str, progress: Progress, *, seen: bool = False
) -> tuple[ModelSummary | None, Evaluation]:
    """Judge a weights file of any kind, or a graph of any runtime; and what model it is, where the file tells.

    Raises:
        CompressorError: any fault of the input or of the run.
    """
    chosen = select_device(device)
    summary, recipe = None, None
    with progress.step(f"load {weights}"):
        if is_graph(Path(weights)):
            if settings.precision != "auto":
                message = f"{settings.precision} is for models that torch runs; a graph runs in its own number type"
                raise InputError(Diagnostic("U909", message, "--precision", help="judge it without --precision"))
            network = open_network(Path(weights), chosen)
        else:
            loaded = fetch_and_load(weights, progress)[1]
            summary, recipe = summarise(loaded.model), loaded.recipe
            network = inference_network(loaded.model, chosen, settings.precision)
    judge = open_judge(data, settings, network.names, chosen, progress)
    if not seen:
        check_unseen(recipe, [sample.image for sample in judge.split.samples], data)
    evaluation, _ = judge.evaluate(network, progress, "evaluate")
    return summary, evaluation


def inspect(weights: str, progress: Progress, *, weigh: bool = False) -> Inspection:
    """What a weights file of any kind holds; `weigh` also compresses it, and its tensors stored densely."""
    path, source = fetch_and_load(weights, progress)
    layers = convolutions(source.stored)
    held = stored_tensors(path, source)
    dtype: Dtype = "float16" if source.dtype == "float16" else "float32"
    sizes = None
    if weigh:
        with progress.step("gzip"):
            data = path.read_bytes()
            sizes = measure(data, source.stored, data, dtype)
    return Inspection(
        kind=source.kind,
        dtype=source.dtype,
        size_bytes=path.stat().st_size,
        sha256=sha256(path),
        model=summarise(source.model),
        names=source.model.names,
        anchors=source.model.architecture.anchors,
        sparsity=_zero_fraction(list(layers)),
        facts=source.facts,
        layers=tuple(_stored_layer(layer, held[layer.name], gzipped=weigh) for layer in layers),
        recipe=source.recipe,
        sizes=sizes,
    )


def _budget(job: Job, *, judged: bool) -> Budget | None:
    """The budget that the recipe asks for, None where it names every sparsity itself.

    Raises:
        RecipeError: R120 it is a budget of AP, and nothing will be judged.
    """
    for index, step in enumerate(job.recipe.modifiers):
        if isinstance(step, Prune) and step.budget is not None:
            if step.budget.ap_drop is not None and not judged:
                place = job.recipe_file.place("modifiers", index, "sparsity")
                message = "a budget of AP is settled by judging, which is not done here"
                help_text = f"run `apply` on data, or give a number: --set modifiers.{index}.sparsity=0.5"
                raise RecipeError(place.diagnostic("R120", message, help_text))
            return step.budget
    return None


def _images(job: Job, judge: Judge | None, progress: Progress) -> CalibrationImages:
    judged = [sample.image for sample in judge.split.samples] if judge else []
    return CalibrationImages(job.recipe_file, judged, max(job.model.strides), progress)


def _load_judge(recipe_file: RecipeFile, model: YOLOv5, device: torch.device, progress: Progress) -> Judge:
    """The recipe's data set, read and checked against the model.

    Raises:
        RecipeError: R112 the recipe names no data.
        DatasetError: see `load_dataset`, `read_split` and `make_judge`.
    """
    recipe = recipe_file.recipe
    if recipe.data is None:
        help_text = "name it with --data or `data:` in the recipe, or compress without judging: --no-evaluate"
        raise RecipeError(recipe_file.place().diagnostic("R112", "no data set is named", help_text))
    return open_judge(recipe.data, recipe.evaluation, model.names, device, progress)


def open_judge(
    data: str, settings: Settings, names: tuple[str, ...], device: torch.device, progress: Progress
) -> Judge:
    """A data set, read and checked against the classes of a model.

    Raises:
        DatasetError: see `load_dataset`, `read_split`, `check_classes` and `make_judge`.
    """
    with progress.step(f"open {data}"):
        dataset = load_dataset(data)  # draws the embedded data set on first use
    told = check_classes(names, dataset, other_names=settings.other_names)
    with progress.bar(f"read {data}", "images") as update:
        split = read_split(dataset, settings.split, update)
    for sentence in (*told, *split.choice):
        progress.warn(sentence)
    return make_judge(replace(split, skipped=(*told, *split.skipped)), settings, device)


def _timed(judge: Judge, before: Network, after: Network, progress: Progress) -> Timing:
    size = fit_image_size(judge.settings.image_size, max(32, *after.strides))
    image = load_images([judge.split.samples[0].image], size)
    with progress.step("time both in turns"):
        return time_in_turns(before, after, image)


def _compared(judge: Judge, before: Judged, after: Judged, examples: int, folder: Path, progress: Progress) -> Timing:
    """Time the two models in turns, and show what each finds on some images."""
    timing = _timed(judge, before.network, after.network, progress)
    if examples:
        found = before.predictions, after.predictions
        page = examples_png(judge.split.samples, judge.ground_truth.image_ids, *found, examples, after.network.names)
        if page is not None:
            (folder / EXAMPLES).write_bytes(page)
    return timing


def _named_files(recipe_file: RecipeFile, options: Options) -> tuple[str | None, Path | None]:
    """The text of the template and the file of the reference, both found to be good."""
    report = recipe_file.recipe.report
    reference = None
    if report.reference is not None:
        reference = recipe_file.folder("report", "reference") / report.reference
        load_reference(reference, None)
    if options.template is not None:
        return read_template(options.template), reference
    if report.template is None:
        return None, reference
    folder = recipe_file.folder("report", "template")
    strange = None if recipe_file.on_command_line("report", "template") else folder
    return read_template(folder / report.template, strange), reference


def _check_gates_without_figures(recipe_file: RecipeFile) -> None:
    """Refuse gates that cannot be decided where nothing is judged.

    Raises:
        RecipeError: R121.
    """
    message = "the gate needs figures, and nothing is judged with --no-evaluate"
    help_text = "judge the model, or take the gates out: --set report.fail_if=[]"
    gates = enumerate(recipe_file.recipe.report.fail_if)
    faults = [
        recipe_file.place("report", "fail_if", index).diagnostic("R121", message, help_text)
        for index, text in gates
        if parse_gate(text).quantity != "size"
    ]
    if faults:
        raise RecipeError(*faults)


def _unused(recipe: Recipe) -> tuple[str, ...]:
    told = f"{recipe.report.reference} was not used as a reference: nothing was judged"
    return (told,) if recipe.report.reference else ()


def uncompared(exports: tuple[Exported, ...]) -> list[str]:
    """A warning for every exported file that was compared with nothing."""
    paths = [export.path for export in exports if export.agreement is None]
    return [f"{path} was not compared with the model: neither detects anything on the images" for path in paths]


def layer_sparsity(layer: Layer) -> LayerSparsity:
    """Zeros of one convolution."""
    return LayerSparsity(layer.name, layer.role, tuple(layer.weight.shape), layer.weight.numel(), layer.zeros)


def _stored_layer(layer: Layer, tensors: list[Tensor], *, gzipped: bool) -> StoredLayer:
    def raw(tensor: Tensor) -> bytes:
        return tensor.contiguous().view(torch.uint8).numpy().tobytes()

    return StoredLayer(
        **vars(layer_sparsity(layer)),
        dtype=str(tensors[0].dtype).removeprefix("torch."),
        layout="dense" if len(tensors) == 1 else "bitmask",
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        gzip_bytes=gzip_size(b"".join(map(raw, tensors))) if gzipped else None,
    )


def _sparsity(model: YOLOv5, layers: tuple[Layer, ...], changes: tuple[Change, ...]) -> SparsitySummary:
    return summed_up(tuple(map(layer_sparsity, layers)), changes, sparsity(model))


def _zero_fraction(layers: list[Layer]) -> float:
    return sum(layer.zeros for layer in layers) / sum(layer.weight.numel() for layer in layers)
