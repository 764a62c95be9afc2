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
from compressor.artifact.save import Provenance, encode_model
from compressor.errors import ArtifactError, Diagnostic
from compressor.evaluation.coco import Predictions
from compressor.evaluation.evaluate import Evaluator
from compressor.evaluation.network import Network
from compressor.files.store import Steps
from compressor.models.detector import Detector
from compressor.progress import Progress
from compressor.recipe.modifiers.budget import Budget
from compressor.results.changes import Change
from compressor.results.evaluation import Evaluation
from compressor.results.run import Search, Try
from compressor.results.sensitivity import table_text
from compressor.run.baselines import Baselines, baseline_key, packed, unpacked
from compressor.run.folder import MODEL
from compressor.run.job import CalibrationImages, Job, modify, storage
from compressor.run.search import Seeker

BEFORE, SEARCH, MODIFIED, AFTER = "evaluate before", "search", "modified model", "evaluate after"

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


def evaluate_before(
    evaluator: Evaluator, model: Detector, shared: Path | None, steps: Steps, progress: Progress
) -> Evaluated:
    """The judgement of the model before the modifiers, or the one that was kept of just this model.

    Args:
        evaluator: of the split.
        model: before the modifiers.
        shared: folder of judgements that several runs share; None where this run stands alone.
        steps: of this run.
        progress: told of the evaluation.
    """
    network, judgement = evaluator.network(model), baseline_key(model, evaluator)
    key = evaluation_key(steps, model, evaluator)
    own = unpacked(steps.find(BEFORE, key), evaluator)
    if own is None and shared is not None:
        found = Baselines(shared).find(judgement, evaluator)
        if found is not None:
            return Evaluated(network, *found, (SHARED,))
    if own is None:
        own = evaluator.evaluate(network, progress, BEFORE, resampled=True)
        steps.keep(BEFORE, key, packed(*own))
    if shared is not None:
        Baselines(shared).keep(judgement, *own)
    return Evaluated(network, *own)


def evaluate_after(
    evaluator: Evaluator, network: Network, model: Detector, steps: Steps, progress: Progress
) -> Evaluated:
    """The judgement of the saved model, or the one that was kept of just this model."""
    key = evaluation_key(steps, model, evaluator)
    found = unpacked(steps.find(AFTER, key), evaluator)
    if found is None:
        found = evaluator.evaluate(network, progress, AFTER, resampled=True)
        steps.keep(AFTER, key, packed(*found))
    return Evaluated(network, *found)


def settle(
    job: Job,
    budget: Budget,
    evaluator: Evaluator | None,
    baseline: Evaluation | None,
    images: CalibrationImages,
    device: torch.device,
    progress: Progress,
    steps: Steps | None = None,
) -> tuple[Job, Search]:
    """The job with a sparsity in the budget's place, and how it was found; tries that were kept are not made again."""
    if steps is None:
        seeker = Seeker(job, images, device, progress)
    else:
        key = search_key(steps, job, images, evaluator)
        found = steps.find(SEARCH, key)
        known = _TRIES.validate_json(found["tries.json"]) if found else ()

        def keep(tries: Sequence[Try]) -> None:
            steps.keep(SEARCH, key, {"tries.json": _TRIES.dump_json(tuple(tries))})

        seeker = Seeker(job, images, device, progress, known=known, keep=keep)
    if budget.size is not None:
        return seeker.by_size()
    assert evaluator is not None  # a budget of AP is refused where nothing is judged
    return seeker.by_ap(evaluator, baseline.metrics.coco.AP if baseline else None)


def compress(
    job: Job, images: CalibrationImages, device: torch.device, staging: Path, steps: Steps, progress: Progress
) -> tuple[LoadedModel, tuple[Change, ...], list[str]]:
    """Modify the job's model and write it to `staging`, or what was kept of just this job.

    Returns:
        The file read back, what the modifiers did, and what to warn of.

    Raises:
        ArtifactError: A502 a tensor came back different.
    """
    key = modified_key(steps, job, images)
    kept, path = steps.find(MODIFIED, key), staging / MODEL
    if kept is not None:
        told = json.loads(kept["changes.json"])
        path.write_bytes(kept[MODEL])
        return load_model(path), _CHANGES.validate_python(told["changes"]), told["warnings"]
    modified = modify(job, images, device, progress)
    changes = modified.changes
    with progress.step(f"save {MODEL}"):
        stored, warnings = storage(job, modified)
        provenance = Provenance(job.recipe.model_dump(mode="json"), job.path.name, job.weights_sha256)
        path.write_bytes(encode_model(stored.network, stored.form, provenance))
        loaded = load_model(path)
        _check_same(loaded.model, modified.state.model)
        told = {"changes": [asdict(change) for change in changes], "warnings": warnings}
        steps.keep(MODIFIED, key, {MODEL: path.read_bytes(), "changes.json": json.dumps(told).encode()})
    return loaded, changes, warnings


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
