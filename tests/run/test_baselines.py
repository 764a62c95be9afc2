"""Kept judgements: found for the same model, data and settings, and for nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compressor.data.dataset import load_dataset, read_split
from compressor.evaluation.evaluate import Evaluator, make_evaluator
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation
from compressor.run.baselines import Baselines, baseline_key
from trials.tiny import tiny_data, tiny_model


@pytest.fixture
def evaluator(tmp_path: Path) -> Evaluator:
    split = read_split(load_dataset(str(tiny_data(tmp_path))), "val")
    return make_evaluator(split, Evaluation(image_size=64), torch.device("cpu"))


def test_what_is_kept_comes_back_whole_and_damage_is_nothing(evaluator: Evaluator, tmp_path: Path) -> None:
    baselines, key = Baselines(tmp_path / "kept"), baseline_key(tiny_model(), evaluator)
    assert baselines.find(key, evaluator) is None
    evaluation, predictions = evaluator.evaluate(tiny_model(), Silent(), "", resampled=True)
    baselines.keep(key, evaluation, predictions)
    found = baselines.find(key, evaluator)
    assert found is not None
    assert found[0] == evaluation
    assert found[1].image_ids == predictions.image_ids
    assert np.array_equal(found[1].boxes, predictions.boxes)
    for name in ("predictions.npz", "evaluation.json"):
        file = tmp_path / "kept" / key / name
        whole = file.read_bytes()
        for content in (b"", whole[: len(whole) // 2], whole[:-100], b"PK\x03\x04" + whole[4:100], b"{}"):
            file.write_bytes(content)
            assert baselines.find(key, evaluator) is None
        file.write_bytes(whole)
    assert baselines.find(key, evaluator) is not None


def test_another_model_other_data_or_other_settings_have_another_key(evaluator: Evaluator, tmp_path: Path) -> None:
    key = baseline_key(tiny_model(), evaluator)
    assert key == baseline_key(tiny_model(), evaluator)
    others = {
        baseline_key(tiny_model(seed=1), evaluator),
        baseline_key(tiny_model(), replace(evaluator, settings=Evaluation(image_size=96))),
        baseline_key(tiny_model(), replace(evaluator, split=replace(evaluator.split, sha256="0" * 64))),
    }
    assert len(others | {key}) == 4


def test_the_digest_of_data_sees_the_annotations(tmp_path: Path) -> None:
    yaml = tiny_data(tmp_path)
    plain = read_split(load_dataset(str(yaml)), "val").sha256
    yaml.write_text(yaml.read_text() + "annotations: a.json\n")
    digests = {plain}
    for content in ("{}", "[]"):
        (tmp_path / "a.json").write_text(content)
        digests.add(read_split(load_dataset(str(yaml)), "val").sha256)
    assert len(digests) == 3
