"""Every real checkpoint through every format and back: weights, classes, anchors and layer tables stay."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import get_args

import pytest
import torch

from compressor.artifact.load import LoadedModel, load_model
from compressor.artifact.save import Form, Provenance, encode_model
from compressor.data.calibration import draw, find_calibration_images, load_images
from compressor.export.open import open_network
from compressor.export.write import Options, write
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.recipe.exports import TRAITS, ExportFormat
from compressor.recipe.modifiers import Prune

FILES = ("yolov5n_coco.pt", "yolov5n_coco_resaved.pt", "yolov5n_coco.safetensors")
CUSTOM = ("animals_nc3.pt", "helmet_vest_nc2.pt", "waste_nc2.pt")
DISTINCT = ("yolov5n_coco.pt", *CUSTOM)  # the others hold the same network
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
SIZE = 160
CPU = torch.device("cpu")
TAKEN: dict[str, tuple[str, ...]] = {  # by the formats that take torch a while
    "onnx": ("yolov5n_coco.pt",),
    "openvino": ("animals_nc3.pt",),  # which is made of ONNX
    "torchscript": DISTINCT,
}
TRIPS = [(name, form) for form in FORMATS for name in TAKEN.get(form, (*FILES, *CUSTOM))]


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    return shared / "data" / "weights"


@pytest.fixture(scope="module")
def images(shared: Path) -> torch.Tensor:
    files = find_calibration_images(str(shared / "data" / "coco128" / "images"), "train")
    return load_images(draw(files, 2, seed=0), SIZE)


def assert_same(found: LoadedModel, wanted: LoadedModel) -> None:
    assert found.model.names == wanted.model.names
    assert found.model.spec == wanted.model.spec
    assert found.model.strides == wanted.model.strides
    tensors = found.stored.state_dict()
    assert tensors.keys() == wanted.stored.state_dict().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in wanted.stored.state_dict().items())


@pytest.mark.parametrize("name", [*FILES, *CUSTOM])
def test_pruned_saved_and_loaded_it_is_the_same_and_saved_again_has_the_same_bytes(
    weights: Path, tmp_path: Path, name: str
) -> None:
    source = load_model(weights / name)
    prune(convolutions(source.model), Prune(type="prune", allocation="global", sparsity=0.5))
    provenance = Provenance({}, name, "0" * 64)
    data = encode_model(source.model, Form("float16", "bitmask"), provenance)
    assert len(data) < 0.62 * (weights / name).stat().st_size
    (tmp_path / "model.safetensors").write_bytes(data)
    loaded = load_model(tmp_path / "model.safetensors")
    assert_same(loaded, source)
    assert encode_model(loaded.stored, Form("float16", "bitmask"), provenance) == data


@pytest.mark.parametrize(("name", "form"), TRIPS)
def test_it_goes_through_every_format(
    weights: Path, images: torch.Tensor, tmp_path: Path, name: str, form: ExportFormat
) -> None:
    source = load_model(weights / name)
    place = tmp_path / f"model{TRAITS[form].ending}"
    agreement = write(copy.deepcopy(source), form, Options(SIZE), images, place)
    assert agreement is not None
    assert agreement.pixels < 0.05
    assert agreement.probability < 5e-4
    if TRAITS[form].graph:
        network = open_network(place, CPU)
        assert (network.names, network.strides, network.image_size) == (source.model.names, (8, 16, 32), SIZE)
    else:
        assert_same(load_model(place), source)
