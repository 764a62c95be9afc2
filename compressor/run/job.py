"""A recipe with its weights, the steps it compiles to, and all that these need; carried out, and made ready to save."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from compressor.artifact.load import LoadedModel, fetch_and_load
from compressor.artifact.save import Form
from compressor.artifact.stored_form import StoredForm, ready_to_store
from compressor.data.calibration import draw, find_calibration_images, same_images
from compressor.errors import DatasetError, Diagnostic, RecipeError
from compressor.files.store import Steps as StepCache
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.modifiers.apply import apply_steps, predict_steps, prove
from compressor.modifiers.prune.redundant import check_every_prune_matters
from compressor.modifiers.state import Context, State
from compressor.modifiers.steps import Steps, resolve
from compressor.plan.layers import convolutions, outlined
from compressor.plan.outline import Resolved, Tables
from compressor.progress import Progress
from compressor.recipe.load import RecipeFile
from compressor.recipe.modifiers import Modifier
from compressor.recipe.schema import Recipe
from compressor.results.changes import Change, standing
from compressor.results.sensitivity import load_table, table_text
from compressor.run.calibration import CalibrationImages
from compressor.run.folder import sha256
from compressor.run.forecast import only_zeros
from compressor.run.step_cache import apply_cached


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


def modify(
    job: Job, images: CalibrationImages, device: torch.device, progress: Progress, cache: StepCache | None = None
) -> Modified:
    """Carry out every step on the job's model, then fold its BatchNorm where the recipe says so.

    Args:
        job: its model is changed.
        images: for calibration.
        device: where to compute.
        progress: receives every step.
        cache: of the run, from which finished steps are taken; None where nothing is cached.
    """
    state, context = State.before(job.steps, job.model, job.unfused), Context(images, device, job.tables, progress)
    if cache is None:
        changes = apply_steps(job.steps, state, context)
    else:
        changes = apply_cached(job.steps, state, context, cache, [_given(job, images, each) for each in job.steps])
    return _finished(job, state, changes)


def _given(job: Job, images: CalibrationImages, step: Resolved[Modifier]) -> dict[str, Any]:
    """All that the result of a step depends on beside the steps before it."""
    modifier = step.modifier
    drawn = images.files(modifier.images) if modifier.images is not None else []
    return {
        "weights": job.weights_sha256,
        "fuse": job.recipe.model.fuse,
        "modifier": modifier.model_dump(mode="json"),
        "tables": [table_text(job.tables[name]) for name in modifier.tables.values()],
        "calibration": [[file.name, images.sha256(file)] for file in drawn],
    }


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
