"""The tiny model and its graphs, exported once for all tests here: torch takes seconds for each."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from compressor.artifact.load import LoadedModel
from compressor.export.write import Options, write
from compressor.models.detector import Detector
from trials.tiny import tiny_model

SIZE = 64


@pytest.fixture(scope="session")
def model() -> Detector:
    return tiny_model()


def loaded(model: Detector) -> LoadedModel:
    twin = copy.deepcopy(model)
    return LoadedModel(twin, twin, "float32", "", {})


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def fixed(model: Detector, images: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fixed") / "model.onnx"
    write(loaded(model), "onnx", Options(SIZE), images, place)
    return place


@pytest.fixture(scope="session")
def free(model: Detector, images: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("free") / "model.onnx"
    write(loaded(model), "onnx", Options(SIZE, dynamic_size=True), images, place)
    return place
