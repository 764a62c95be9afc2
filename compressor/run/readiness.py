"""Everything that can be found wrong before a run does any work: `apply` stops at it, `plan` tells all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from compressor.data.dataset import Dataset, Split, load_dataset, not_drawn, read_split
from compressor.data.shapes import IMAGES
from compressor.errors import CompressorError, RecipeError
from compressor.evaluation.class_names import check_classes
from compressor.evaluation.evaluate import Evaluator, make_evaluator
from compressor.evaluation.predict import select_device
from compressor.progress import Progress
from compressor.recipe.gates import parse_gate
from compressor.recipe.load import RecipeFile
from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.schema import Evaluation as Settings
from compressor.report.reference import load_reference
from compressor.report.render import read_template
from compressor.results.run import Reference
from compressor.run.calibration import CalibrationImages
from compressor.run.disk_space import check_room
from compressor.run.exports import check_runtimes
from compressor.run.folder import check_output, steps_folder
from compressor.run.job import Job, open_job


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


@dataclass
class Refusals:
    """What a run would refuse.

    Attributes:
        gather: go on after a refusal that leaves the rest to be looked at; False raises it.
        found: those that were gathered, in the order of the run.
    """

    gather: bool
    found: list[CompressorError] = field(default_factory=list)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Raise what the block refuses, or gather it."""
        try:
            yield
        except CompressorError as refusal:
            if not self.gather:
                raise
            self.found.append(refusal)

    @contextmanager
    def told_with_what_ends_it(self) -> Iterator[None]:
        """Where the block refuses, raise that together with what was gathered; an output that is there is left out."""
        try:
            yield
        except CompressorError as refusal:
            earlier = [each for error in self.found for each in error.diagnostics if each.code != "O601"]
            if not earlier:
                raise
            raise type(refusal)(*earlier, *refusal.diagnostics) from refusal


@dataclass(frozen=True, eq=False)
class Ready:
    """A run before its work, with all that it needs opened and checked.

    Attributes:
        job: the recipe with its weights.
        device: where it computes.
        budget: to be settled; None where the recipe names every sparsity itself.
        evaluator: of the data; None where nothing is evaluated, or where the data are refused.
        images: for calibration.
        template: text of the report's template; None for the shipped one.
        reference: a model to compare with that the recipe names; None where it names none, or nothing is evaluated.
        report_files: template and reference, as far as they are named.
    """

    job: Job
    device: torch.device
    budget: Budget | None
    evaluator: Evaluator | None
    images: CalibrationImages
    template: str | None
    reference: Reference | None
    report_files: tuple[Path, ...]

    @property
    def images_evaluated(self) -> int | None:
        """How many there are; None where the data are not known."""
        if self.evaluator is None and not_drawn(self.job.recipe.data):
            return IMAGES.get(self.job.recipe.evaluation.split)
        return len(self.evaluator.split.samples) if self.evaluator else None


def make_ready(recipe_file: RecipeFile, options: Options, progress: Progress, refusals: Refusals) -> Ready:
    """Open and check all that a run needs, in its order.

    Raises:
        CompressorError: whatever would stop the run; where `refusals` gathers, only what leaves nothing to plan: a
            device, weights or modifiers that cannot be used.
    """
    recipe = recipe_file.recipe
    with refusals.noted():
        check_output(options.output, force=options.force)
    with refusals.noted():
        check_runtimes(export.format for export in recipe.exports)
    template, text, reference_file, reference = None, None, None, None
    with refusals.noted():
        template, reference_file = report_files(recipe_file, options.template)
        text = _template_text(recipe_file, options, template)
    with refusals.noted():
        if reference_file:
            load_reference(reference_file, None)
    with refusals.noted():
        if not options.evaluate:
            _check_gates_without_figures(recipe_file)
    with refusals.told_with_what_ends_it():
        device = select_device(options.device)
        job = open_job(recipe_file, progress)
        budget = check_budget(job, judged=options.evaluate)
    evaluator = None
    with refusals.noted():
        known = not_drawn(recipe.data) if refusals.gather else None
        if options.evaluate and known:
            check_classes(job.model.names, known, other_names=recipe.evaluation.other_names)
        elif options.evaluate:
            evaluator = _load_evaluator(job, device, progress)
    with refusals.noted():
        if evaluator and reference_file:
            reference = load_reference(reference_file, evaluator.way(evaluator.network(job.model)))
    judged = [sample.image for sample in evaluator.split.samples] if evaluator else []
    images = CalibrationImages(recipe_file, judged, max(job.model.strides), progress)
    with refusals.noted():
        images.check(draws=not refusals.gather)
    with refusals.noted():
        check_room(job, options.output, steps_folder(options.output))
    return Ready(
        job, device, budget, evaluator, images, text, reference, tuple(filter(None, (template, reference_file)))
    )


def open_evaluator(
    data: str, settings: Settings, names: tuple[str, ...], device: torch.device, progress: Progress
) -> Evaluator:
    """A data set, read and checked against the class names of a model.

    Raises:
        DatasetError: see `load_dataset`, `check_classes`, `read_split` and `make_evaluator`.
    """
    with progress.step(f"open {data}"):
        dataset = load_dataset(data)  # draws the embedded data set on first use
    told = check_classes(names, dataset, other_names=settings.other_names)
    split = read_told(dataset, settings.split, progress)
    for sentence in (*told, *split.choice):
        progress.warn(sentence)
    return make_evaluator(replace(split, skipped=(*told, *split.skipped)), settings, device)


def read_told(dataset: Dataset, split: str, progress: Progress) -> Split:
    """As `read_split`, told as it goes on."""
    with progress.bar(f"read {dataset.source}", "images") as update:
        return read_split(dataset, split, update)


def report_files(recipe_file: RecipeFile, template: Path | None = None) -> tuple[Path | None, Path | None]:
    """Where the template and the reference of the report are; `template` takes the place of the recipe's."""
    report = recipe_file.recipe.report
    reference = None if report.reference is None else recipe_file.folder("report", "reference") / report.reference
    if template is not None or report.template is None:
        return template, reference
    return recipe_file.folder("report", "template") / report.template, reference


def _template_text(recipe_file: RecipeFile, options: Options, template: Path | None) -> str | None:
    """The text of the template; one that a recipe names lies below the recipe's folder."""
    if template is None:
        return None
    trusted = options.template is not None or recipe_file.on_command_line("report", "template")
    return read_template(template, None if trusted else recipe_file.folder("report", "template"))


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


def check_budget(job: Job, *, judged: bool) -> Budget | None:
    """The budget that the recipe asks for, None where it names every sparsity itself.

    Raises:
        RecipeError: R120 it is a budget of AP, and nothing will be judged.
    """
    for index, step in enumerate(job.recipe.modifiers):
        if step.goal is not None:
            key, goal = step.goal
            if goal.ap_drop is not None and not judged:
                place = job.recipe_file.place("modifiers", index, key)
                message = "a budget of AP is settled by judging, which is not done here"
                help_text = f"run `apply` on data, or give a number: --set modifiers.{index}.{key}=0.5"
                raise RecipeError(place.diagnostic("R120", message, help_text))
            return goal
    return None


def _load_evaluator(job: Job, device: torch.device, progress: Progress) -> Evaluator:
    """The recipe's data set, read and checked against the model.

    Raises:
        RecipeError: R112 the recipe names no data.
        DatasetError: see `open_evaluator`.
    """
    recipe = job.recipe
    if recipe.data is None:
        help_text = "name it with --data or `data:` in the recipe, or compress without judging: --no-evaluate"
        raise RecipeError(job.recipe_file.place().diagnostic("R112", "no data set is named", help_text))
    return open_evaluator(recipe.data, recipe.evaluation, job.model.names, device, progress)
