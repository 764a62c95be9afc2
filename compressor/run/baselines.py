"""Judgements of models before the modifiers, kept so that many runs on one model and one data set judge it once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from compressor.artifact.save import canonical_json
from compressor.evaluation.coco import Predictions
from compressor.evaluation.evaluate import Evaluator
from compressor.files.store import Kept
from compressor.models.detector import Detector
from compressor.results.document import to_json
from compressor.results.evaluation import Evaluation
from compressor.run.environment import surroundings

_EVALUATION = TypeAdapter(Evaluation)
_ARRAYS = ("image_index", "boxes", "scores", "classes")
_PLAIN = (bool, int, float, str, tuple, list)  # attributes that say how a module computes


@dataclass(frozen=True)
class Baselines:
    """A folder of judgements.

    Attributes:
        folder: is made when it is needed.
    """

    folder: Path

    def find(self, key: str, evaluator: Evaluator) -> tuple[Evaluation, Predictions] | None:
        """What was kept under a key; None where there is nothing, or what is there is damaged."""
        return unpacked(Kept(self.folder).find(key), evaluator)

    def keep(self, key: str, evaluation: Evaluation, predictions: Predictions) -> None:
        """Keep a judgement under a key, whole or not at all."""
        Kept(self.folder).keep(key, packed(evaluation, predictions))


def packed(evaluation: Evaluation, predictions: Predictions) -> dict[str, bytes]:
    """A judgement as files."""
    arrays = {name: getattr(predictions, name) for name in _ARRAYS}
    file = io.BytesIO()
    np.savez_compressed(file, image_ids=json.dumps(predictions.image_ids), **arrays)
    return {"evaluation.json": to_json(evaluation).encode(), "predictions.npz": file.getvalue()}


def unpacked(files: Mapping[str, bytes] | None, evaluator: Evaluator) -> tuple[Evaluation, Predictions] | None:
    """The judgement that was packed; None where there is none, or it is none of the judge's images."""
    if files is None:
        return None
    try:
        evaluation = _EVALUATION.validate_json(files["evaluation.json"])
        with np.load(io.BytesIO(files["predictions.npz"]), allow_pickle=False) as arrays:
            predictions = Predictions(tuple(json.loads(str(arrays["image_ids"]))), *(arrays[name] for name in _ARRAYS))
    except Exception:  # whatever is wrong with it, the model can be judged again
        return None
    known = set(evaluator.ground_truth.image_ids) == set(predictions.image_ids)
    return (evaluation, predictions) if known else None


def baseline_key(model: Detector, evaluator: Evaluator) -> str:
    """What a judgement depends on, as a digest: the network, the data, the settings and the surroundings."""
    told = {
        "network": _network_sha256(model),
        "judged": evaluator.facts,
        "surroundings": surroundings(evaluator.device),
    }
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()[:32]


def _network_sha256(model: Detector) -> str:
    """Of all that a network computes with: tensors, the layer table, and every plain attribute of every module."""
    digest = hashlib.sha256(repr((model.spec, model.names, model.strides, model.fused)).encode())
    for name, tensor in sorted({**model.state_dict(), **dict(model.named_buffers())}.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    for name, module in model.named_modules():
        plain = {key: repr(value) for key, value in vars(module).items() if isinstance(value, _PLAIN)}
        digest.update(f"{name} {type(module).__name__} {sorted(plain.items())}\n".encode())
    return digest.hexdigest()
