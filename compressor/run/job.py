"""A recipe with its weights, the steps it compiles to, and all that these need; carried out, and made ready to save."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from compressor.artifact.load import LoadedModel, fetch_and_load
from compressor.artifact.save import Form
from compressor.artifact.stored_form import StoredForm, ready_to_store
from compressor.data.batches import fit_image_size
from compressor.data.calibration import draw, find_calibration_images, load_images, same_images
from compressor.data.dataset import not_drawn
from compressor.errors import DatasetError, Diagnostic, RecipeError
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.modifiers.apply import apply_steps, predict_steps, prove
from compressor.modifiers.prune.redundant import check_every_prune_matters
from compressor.modifiers.state import Context, State
from compressor.modifiers.steps import Steps, resolve
from compressor.plan.layers import convolutions, outlined
from compressor.plan.outline import Tables
from compressor.progress import Progress
from compressor.recipe.load import RecipeFile
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.schema import Recipe
from compressor.results.changes import Change, standing
from compressor.results.sensitivity import load_table
from compressor.run.folder import sha256
from compressor.run.forecast import only_zeros


@dataclass(frozen=True, eq=False)
class Job:
    """What a recipe is about to be done to.

    Attributes:
        recipe_file: the recipe.
        path: the source weights.
        model: as the modifiers take it.
        unfused: the model as it was loaded; may hold the result without rounding, see `stored_form`.
        steps: every modifier with the layers of `model` that it touches.
        tables: sensitivity tables that modifiers name.
        warnings: what the source weights do not tell and was assumed, one sentence each.
    """

    recipe_file: RecipeFile
    path: Path
    model: Detector
    unfused: Detector
    steps: Steps
    tables: Tables
    warnings: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.recipe_file.recipe

    @cached_property
    def weights_sha256(self) -> str:
        """Of the source weights, in hex."""
        return sha256(self.path)


def open_job(recipe_file: RecipeFile, progress: Progress) -> Job:
    """Load the recipe's weights and check every step on them: what does not fit is told at once.

    Raises:
        RecipeError: R111 the recipe names no weights.
        CheckpointError, DownloadError: see `fetch_and_load`.
        InputError: see `load_table`.
        PlanError: see `steps.resolve` and `check_every_prune_matters`.
    """
    path, source = _load_source(recipe_file, progress)
    job = _job(recipe_file, path, source.model, tables_of(recipe_file))
    return replace(job, warnings=source.warnings)


def tables_of(recipe_file: RecipeFile) -> Tables:
    """The sensitivity tables that steps name, each from the folder of the file in which its name is written."""
    tables = {}
    for index, step in enumerate(recipe_file.recipe.modifiers):
        for key, name in step.tables.items():
            tables[name] = load_table(recipe_file.folder("modifiers", index, key) / name)
    return tables


def with_number(job: Job, index: int, number: float, *, final: bool = True) -> Job:
    """The same job from the start, with a number where modifier `index` holds a goal.

    Args:
        job: as it was opened.
        index: of the modifier.
        number: the one to be tried or taken.
        final: whether it is taken; with one that is tried a step may make no difference.

    Raises:
        PlanError: see `open_job`.
    """
    recipe = job.recipe
    modifiers = list(recipe.modifiers)
    modifiers[index] = modifiers[index].settled(number)
    settled = recipe.model_copy(update={"modifiers": tuple(modifiers)})
    again = _job(replace(job.recipe_file, recipe=settled), job.path, job.unfused, job.tables, final=final)
    return replace(again, warnings=job.warnings)


def _job(recipe_file: RecipeFile, path: Path, source: Detector, tables: Tables, *, final: bool = True) -> Job:
    model = copy.deepcopy(source)
    if recipe_file.recipe.model.fuse == "before":
        family_of(model).fold(model)
    layers = convolutions(model, source)
    steps = resolve(recipe_file.recipe.modifiers, outlined(layers, tables), recipe_file)
    if final:
        check_every_prune_matters(steps, layers)
    return Job(recipe_file, path, model, source, steps, tables)


def _load_source(recipe_file: RecipeFile, progress: Progress) -> tuple[Path, LoadedModel]:
    weights = recipe_file.recipe.model.weights
    if weights is None:
        place = recipe_file.place("model")
        help_text = "name them with --weights, or in the recipe: model: {weights: yolov5s.pt}"
        raise RecipeError(place.diagnostic("R111", "no weights are named", help_text))
    with progress.step(f"load {weights}"):
        return fetch_and_load(weights, progress)


class CalibrationImages:
    """Gives each step the calibration images it asks for; those asked for last are kept.

    Args:
        recipe_file: names the data set that they are drawn from where a step does not.
        judged: images that the evaluation judges on.
        stride: the largest of the network; image sizes are rounded up to it.
        progress: told of reading them.
    """

    def __init__(self, recipe_file: RecipeFile, judged: Iterable[Path], stride: int, progress: Progress) -> None:
        self.recipe_file = recipe_file
        self.judged = tuple(judged)
        self.stride = stride
        self.progress = progress
        self.last: tuple[Calibration, Tensor] | None = None
        self.known: dict[Path, str] = {}  # SHA-256 of the files that were read
        self.warnings: list[str] = []  # of what a data set leaves open or lacks, each once
        self.drawn: dict[Calibration, list[Path]] = {}

    def __call__(self, wanted: Calibration) -> Tensor:
        """(N, 3, S, S) in [0, 1].

        Raises:
            RecipeError, DatasetError: see `files` and `load_images`.
        """
        if self.last is None or self.last[0] != wanted:
            files = self.files(wanted)
            with self.progress.step(_reading(files)):
                self.last = wanted, load_images(files, fit_image_size(wanted.image_size, self.stride), self.known)
        return self.last[1]

    def sha256(self, file: Path) -> str:
        """Of an image as it was when it was first read; `__call__` gives no other."""
        return self.known.setdefault(file, sha256(file))

    def _tell(self, sentence: str) -> None:
        """Warn once of what was taken where a data set leaves a choice, and of images that are not there."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self.progress.warn(sentence)

    def check(self, *, draws: bool = True) -> None:
        """Refuse what a step asks for before any work is done.

        Args:
            draws: draw the embedded data set where a step asks for it; it is known to be good.

        Raises:
            RecipeError, DatasetError: see `files`.
        """
        for step in self.recipe_file.recipe.modifiers:
            wanted = step.images
            if wanted is not None and (draws or not not_drawn(wanted.data or self.recipe_file.recipe.data)):
                self.files(wanted)

    def digests(self) -> list[list[list[str]]]:
        """Name and SHA-256 of every image that a step draws, by step: what a result by these images depends on."""
        wanted = [step.images for step in self.recipe_file.recipe.modifiers if step.images is not None]
        return [[[file.name, self.sha256(file)] for file in self.files(each)] for each in wanted]

    @property
    def titles(self) -> tuple[str, ...]:
        """Of reading the images that were asked for by now, in the account of where the time went."""
        return tuple(map(_reading, self.drawn.values()))

    def files(self, wanted: Calibration) -> list[Path]:
        """The images that a step draws.

        Raises:
            RecipeError: R112 neither the step nor the recipe names a data set.
            DatasetError: D411 an image is judged on as well; see also `find_calibration_images`.
        """
        if wanted not in self.drawn:
            self.drawn[wanted] = self._draw(wanted)
        return self.drawn[wanted]

    def _draw(self, wanted: Calibration) -> list[Path]:
        source = wanted.data or self.recipe_file.recipe.data
        if source is None:
            help_text = "name it with --data, or in the step: calibration: {data: FOLDER}"
            fault = self.recipe_file.place().diagnostic("R112", "no data set to calibrate with is named", help_text)
            raise RecipeError(fault)
        files = draw(find_calibration_images(source, wanted.split, self._tell), wanted.images, wanted.seed)
        both = [] if wanted.judged else same_images(files, self.judged)
        if both:
            message = f"{len(both)} of the {len(files)} calibration images are judged on too, such as {both[0].name}"
            help_text = "name other images: calibration: {data: FOLDER}; or accept it: calibration: {judged: true}"
            raise DatasetError(Diagnostic("D411", message, source, help=help_text))
        return files


def _reading(files: Sequence[Path]) -> str:
    return f"read {len(files)} calibration images"


def check_unseen(made_by: dict[str, Any] | None, judged: Iterable[Path], data: str) -> None:
    """Refuse to judge an artifact on images by which it was repaired, as far as these can be found here.

    Args:
        made_by: the recipe that the artifact names; None of weights that compressor did not make.
        judged: the images.
        data: where they come from, for the message.

    Raises:
        DatasetError: D411.
    """
    try:
        recipe = Recipe.model_validate(as_written(made_by))
    except ValidationError:
        return
    for step in recipe.modifiers:
        wanted = step.images
        source = (wanted.data or recipe.data) if wanted else None
        if wanted is None or source is None:
            continue
        try:
            files = draw(find_calibration_images(source, wanted.split), wanted.images, wanted.seed)
        except DatasetError:  # they are not on this machine
            continue
        both = same_images(files, judged)
        if both:
            message = f"{len(both)} of the images by which the model was repaired are judged on, such as {both[0].name}"
            raise DatasetError(Diagnostic("D411", message, data, help="name other images; or accept it: --seen"))


def as_written(value: Any) -> Any:
    """A resolved recipe without the keys that stand for nothing, as it could be written."""
    if isinstance(value, dict):
        return {key: as_written(item) for key, item in value.items() if item is not None}
    return [as_written(item) for item in value] if isinstance(value, list) else value


def modify(job: Job, images: CalibrationImages, device: torch.device, progress: Progress) -> Modified:
    """Carry out every step on the job's model, then fold its BatchNorm where the recipe says so."""
    state = State.before(job.steps, job.model, job.unfused)
    changes = apply_steps(job.steps, state, Context(images, device, job.tables, progress))
    return _finished(job, state, changes)


def predict(job: Job, images: CalibrationImages, device: torch.device, progress: Progress) -> Modified:
    """What `modify` would count, without what takes long: the job's model has the zeros that it would have."""
    state = State.before((), job.model, job.unfused)
    changes = predict_steps(job.steps, state, Context(images, device, job.tables, progress))
    return _finished(job, state, changes)


@dataclass(frozen=True, eq=False)
class Modified:
    """A network after all steps, and what each did."""

    state: State
    changes: tuple[Change, ...]


def _finished(job: Job, state: State, changes: tuple[Change, ...]) -> Modified:
    if job.recipe.model.fuse == "after":
        family_of(state.model).fold(state.model)
    return Modified(state, changes)


def storage(job: Job, modified: Modified) -> tuple[StoredForm, list[str]]:
    """What the file will hold; where it cannot hold the model as it is, the model is rounded. And what to warn of.

    Raises:
        RunError: E802 a pruned weight is not zero any more.
    """
    model, artifact = modified.state.model, job.recipe.artifact
    form = Form(artifact.dtype, artifact.layout, formats=modified.state.formats)
    stored = ready_to_store(model, job.unfused, form, only_zeros=only_zeros(job.recipe))
    prove(modified.changes, job.recipe.modifiers, modified.state)
    planned = {layer.name: layer.zeros_after for change in standing(modified.changes) for layer in change.layers}
    surplus = sum(layer.zeros - planned.get(layer.name, layer.zeros) for layer in convolutions(model))
    return stored, [underflow(surplus, artifact.dtype)] if surplus else []


def underflow(weights: int, dtype: str) -> str:
    """The warning that some weights which no modifier dropped are zero in the file."""
    return f"{weights:,} kept weights are too small for {dtype} and became zero"
