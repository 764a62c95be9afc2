"""Judgements of models before the modifiers, kept so that many runs on one model and one data set judge it once."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from compressor import __version__
from compressor.artifact.save import canonical_json
from compressor.evaluation.coco import Predictions
from compressor.evaluation.judge import Judge
from compressor.output import publish, staged
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
        place = self.folder / key
        try:
            evaluation = _EVALUATION.validate_json((place / "evaluation.json").read_bytes())
            whole = io.BytesIO((place / "predictions.npz").read_bytes())  # np.load leaves a damaged file open
            with np.load(whole, allow_pickle=False) as arrays:
                predictions = Predictions(
                    tuple(json.loads(str(arrays["image_ids"]))), *(arrays[name] for name in _ARRAYS)
                )
        except Exception:  # whatever is wrong with it, the model can be judged again
            return None
        known = set(judge.ground_truth.image_ids) == set(predictions.image_ids)
        return (evaluation, predictions) if known else None

    def keep(self, key: str, evaluation: Evaluation, predictions: Predictions) -> None:
        """Keep a judgement under a key, whole or not at all."""
        with staged(self.folder / key) as aside:
            made = aside / key
            made.mkdir()
            (made / "evaluation.json").write_text(to_json(evaluation), encoding="utf-8")
            arrays = {name: getattr(predictions, name) for name in _ARRAYS}
            np.savez_compressed(made / "predictions.npz", image_ids=json.dumps(predictions.image_ids), **arrays)
            publish(made, self.folder / key)


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
