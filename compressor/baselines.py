"""Judgements of models before the modifiers, kept so that many runs on one model and one data set judge it once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from compressor import __version__
from compressor.artifact.save import canonical_json
from compressor.evaluation.coco import Predictions
from compressor.evaluation.judge import Judge
from compressor.kept import Kept
from compressor.results.document import to_json
from compressor.results.judgement import Evaluation
from compressor.yolov5.build import YOLOv5

_EVALUATION = TypeAdapter(Evaluation)
_ARRAYS = ("image_index", "boxes", "scores", "classes")


@dataclass(frozen=True)
class Baselines:
    """A folder of judgements.

    Attributes:
        folder: is made when it is needed.
    """

    folder: Path

    def find(self, key: str, judge: Judge) -> tuple[Evaluation, Predictions] | None:
        """What was kept under a key; None where there is nothing, or what is there is damaged."""
        return unpacked(Kept(self.folder).find(key), judge)

    def keep(self, key: str, evaluation: Evaluation, predictions: Predictions) -> None:
        """Keep a judgement under a key, whole or not at all."""
        Kept(self.folder).keep(key, packed(evaluation, predictions))


def packed(evaluation: Evaluation, predictions: Predictions) -> dict[str, bytes]:
    """A judgement as files."""
    arrays = {name: getattr(predictions, name) for name in _ARRAYS}
    file = io.BytesIO()
    np.savez_compressed(file, image_ids=json.dumps(predictions.image_ids), **arrays)
    return {"evaluation.json": to_json(evaluation).encode(), "predictions.npz": file.getvalue()}


def unpacked(files: Mapping[str, bytes] | None, judge: Judge) -> tuple[Evaluation, Predictions] | None:
    """The judgement that was packed; None where there is none, or it is none of the judge's images."""
    if files is None:
        return None
    try:
        evaluation = _EVALUATION.validate_json(files["evaluation.json"])
        with np.load(io.BytesIO(files["predictions.npz"]), allow_pickle=False) as arrays:
            predictions = Predictions(tuple(json.loads(str(arrays["image_ids"]))), *(arrays[name] for name in _ARRAYS))
    except Exception:  # whatever is wrong with it, the model can be judged again
        return None
    known = set(judge.ground_truth.image_ids) == set(predictions.image_ids)
    return (evaluation, predictions) if known else None


def baseline_key(model: YOLOv5, judge: Judge) -> str:
    """What a judgement depends on, as a digest: the weights, the data, the settings, the device and the version."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    told = {
        "version": __version__,
        "data": judge.split.sha256,
        "settings": judge.settings.model_dump(mode="json"),
        "device": str(judge.device),
        "names": list(model.names),
    }
    digest.update(canonical_json(told).encode())
    return digest.hexdigest()[:32]
