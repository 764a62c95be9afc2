"""The long stages of a run: each is kept when it is done, and taken from there when the run goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from compressor.artifact.load import LoadedModel, load_model
from compressor.artifact.save import Provenance, encode_model, measure
from compressor.data.batches import fit_image_size
from compressor.data.calibration import load_images
from compressor.errors import ArtifactError, Diagnostic
from compressor.evaluation.coco import Predictions, write_predictions
from compressor.evaluation.evaluate import Evaluator
from compressor.evaluation.examples import examples_png
from compressor.evaluation.network import Network
from compressor.evaluation.timing import time_in_turns
from compressor.files.store import StepName, Steps
from compressor.models.detector import Detector
from compressor.models.strides import image_step
from compressor.progress import Progress
from compressor.report.pictures import EXAMPLES
from compressor.results.changes import Change
from compressor.results.evaluation import Evaluation
from compressor.results.files import Sizes
from compressor.results.run import Search, Timing, Try
from compressor.results.sensitivity import table_text
from compressor.run.baselines import Baselines, baseline_key, packed, unpacked
from compressor.run.calibration import CalibrationImages
from compressor.run.exports import Shipped, compared_on
from compressor.run.folder import MODEL, PREDICTIONS_AFTER, PREDICTIONS_BEFORE, sha256
from compressor.run.job import Job, modify, storage
from compressor.run.readiness import Ready
from compressor.run.search import Seeker, search

BEFORE = StepName("evaluate_before", "evaluate before")
SEARCH = StepName("search", "search")
MODIFIED = StepName("modified_model", "modified model")
AFTER = StepName("evaluate_after", "evaluate after")

_TRIES = TypeAdapter(tuple[Try, ...])
_CHANGES = TypeAdapter(tuple[Change, ...])

SHARED = "the model before was evaluated in an earlier run of the sweep; its times over all images are of that run"


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A model ready to run, what was found of it, and what to warn of."""

    network: Network
    evaluation: Evaluation
    predictions: Predictions
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Made:
    """A compressed model, as its file was read back.

    Attributes:
        saved: the file.
        changes: made by each step.
        sizes: of the file, its source and its dense forms.
        warnings: what rounding did.
    """

    saved: LoadedModel
    changes: tuple[Change, ...]
    sizes: Sizes
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class Workspace:
    """Where a run does its work.

    Attributes:
        ready: all that it was given, opened and checked.
        folder: that it writes into.
        steps: what an interrupted run left of its stages, and where this one leaves its own.
        progress: receives every stage.
    """

    ready: Ready
    folder: Path
    steps: Steps
    progress: Progress


def evaluate_before(at: Workspace, shared: Path | None) -> Evaluated | None:
    """The model before the modifiers, evaluated now or as it was cached; None where the recipe leaves that out.

    Args:
        at: the run.
        shared: folder of evaluations that several runs share; None where this run stands alone.
    """
    evaluator, model = at.ready.evaluator, at.ready.job.model
    if evaluator is None or not at.ready.job.recipe.evaluation.baseline:
        return None
    network, shared_key = evaluator.network(model), baseline_key(model, evaluator)
    key = evaluation_key(at.steps, model, evaluator)
    own = unpacked(at.steps.find(BEFORE, key), evaluator)
    warnings: tuple[str, ...] = ()
    if own is None and shared is not None:
        own = Baselines(shared).find(shared_key, evaluator)
        warnings = (SHARED,) if own else ()
    if own is None:
        own = evaluator.evaluate(network, at.progress, BEFORE.title, resampled=True)
        at.steps.keep(BEFORE, key, packed(*own))
    if shared is not None and not warnings:
        Baselines(shared).keep(shared_key, *own)
    write_predictions(own[1], evaluator.ground_truth.category_ids, at.folder / PREDICTIONS_BEFORE)
    return Evaluated(network, *own, warnings)


def evaluate_after(at: Workspace, made: Made) -> Evaluated | None:
    """The saved model, evaluated now or as it was cached; None where nothing is evaluated."""
    evaluator, model = at.ready.evaluator, made.saved.model
    if evaluator is None:
        return None
    network, key = evaluator.network(model), evaluation_key(at.steps, model, evaluator)
    found = unpacked(at.steps.find(AFTER, key), evaluator)
    if found is None:
        found = evaluator.evaluate(network, at.progress, AFTER.title, resampled=True)
        at.steps.keep(AFTER, key, packed(*found))
    write_predictions(found[1], evaluator.ground_truth.category_ids, at.folder / PREDICTIONS_AFTER)
    return Evaluated(network, *found)


def settle(at: Workspace, before: Evaluated | None) -> tuple[Job, Search | None]:
    """The job with a number in place of its goal, and how that was found; cached tries are not made again."""
    ready, job = at.ready, at.ready.job
    if ready.budget is None:
        return job, None
    key = search_key(at.steps, job, ready.images, ready.evaluator)
    found = at.steps.find(SEARCH, key)
    known = _TRIES.validate_json(found["tries.json"]) if found else ()

    def keep(tries: Sequence[Try]) -> None:
        at.steps.keep(SEARCH, key, {"tries.json": _TRIES.dump_json(tuple(tries))})

    seeker = Seeker(job, ready.images, ready.device, at.progress, known=known, keep=keep)
    return search(seeker, ready.budget, ready.evaluator, before.evaluation if before else None)


def compress(at: Workspace, job: Job) -> Made:
    """The job's model, modified and written to the run folder, or as it was cached of just this job.

    Raises:
        ArtifactError: A502 a tensor came back different.
    """
    key, path, images = modified_key(at.steps, job, at.ready.images), at.folder / MODEL, at.ready.images
    cached = at.steps.find(MODIFIED, key)
    if cached is not None:
        told = json.loads(cached["changes.json"])
        path.write_bytes(cached[MODEL])
        saved, changes, warnings = load_model(path), _CHANGES.validate_python(told["changes"]), told["warnings"]
    else:
        modified = modify(job, images, at.ready.device, at.progress, at.steps)
        changes = modified.changes
        with at.progress.step(f"save {MODEL}"):
            stored, warnings = storage(job, modified)
            provenance = Provenance(job.recipe.model_dump(mode="json"), job.path.name, job.weights_sha256)
            path.write_bytes(encode_model(stored.network, stored.form, provenance))
            saved = load_model(path)
            _check_same(saved.model, modified.state.model)
            told = {"changes": [asdict(change) for change in changes], "warnings": warnings}
            at.steps.keep(MODIFIED, key, {MODEL: path.read_bytes(), "changes.json": json.dumps(told).encode()})
    with at.progress.step("measure sizes"):
        origin = (saved.origin.form, saved.origin.provenance) if saved.origin else None
        artifact = path.read_bytes()
        sizes = measure(job.path.read_bytes(), saved.stored, artifact, job.recipe.artifact.dtype, origin)
    return Made(saved, changes, sizes, warnings)


def compare(at: Workspace, before: Evaluated | None, after: Evaluated | None) -> Timing | None:
    """Both models timed in turns, and a page of what each finds on some images; None where one is not evaluated."""
    evaluator, examples = at.ready.evaluator, at.ready.job.recipe.report.examples
    if evaluator is None or before is None or after is None:
        return None
    size = fit_image_size(evaluator.settings.image_size, image_step(after.network.strides))
    image = load_images([evaluator.split.samples[0].image], size)
    with at.progress.step("time both in turns"):
        timing = time_in_turns(before.network, after.network, image)
    if examples:
        found, names = (before.predictions, after.predictions), after.network.names
        page = examples_png(evaluator.split.samples, evaluator.ground_truth.image_ids, *found, examples, names)
        if page is not None:
            (at.folder / EXAMPLES).write_bytes(page)
    return timing


def shipped(at: Workspace, made: Made, after: Evaluated | None) -> Shipped:
    """The model that is exported, and what its files are compared with."""
    recipe, evaluator = at.ready.job.recipe, at.ready.evaluator
    images = compared_on(evaluator, recipe.data, recipe.evaluation) if recipe.exports else ()
    compressed = after.evaluation if after else None
    return Shipped(made.saved, sha256(at.folder / MODEL), recipe.evaluation, evaluator, compressed, images)


def _check_same(back: Detector, model: Detector) -> None:
    expected = model.state_dict()
    for name, tensor in back.state_dict().items():
        if not torch.equal(tensor, expected[name].cpu()):
            help_text = "this is a fault of compressor; please report it"
            raise ArtifactError(Diagnostic("A502", f"{name} came back different from the file", help=help_text))


def evaluation_key(steps: Steps, model: Detector, evaluator: Evaluator) -> str:
    """All that an evaluation depends on."""
    return steps.key(judgement=baseline_key(model, evaluator))


def search_key(steps: Steps, job: Job, images: CalibrationImages, evaluator: Evaluator | None) -> str:
    """All that the tries of a search depend on; the whole recipe, since it travels in the files that are weighed."""
    judged = evaluator.facts if evaluator else None
    return steps.key(recipe=job.recipe.model_dump(mode="json"), judged=judged, **_given(job, images))


def modified_key(steps: Steps, job: Job, images: CalibrationImages) -> str:
    """All that the compressed file depends on; the whole recipe, since it travels in it."""
    return steps.key(recipe=job.recipe.model_dump(mode="json"), **_given(job, images))


def _given(job: Job, images: CalibrationImages) -> dict[str, Any]:
    """What the modifiers are given beside the recipe, by digests."""
    return {
        "weights": [job.path.name, job.weights_sha256],
        "tables": {name: table_text(table) for name, table in job.tables.items()},
        "calibration": images.digests(),
    }
