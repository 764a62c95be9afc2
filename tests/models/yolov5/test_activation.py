from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compressor.artifact.load import load_model
from compressor.artifact.save import Form, Provenance, encode_model
from compressor.errors import CheckpointError
from compressor.export.checkpoint import checkpoint_bytes
from compressor.export.state_dict import state_dict_bytes
from compressor.models.detector import Detector
from compressor.models.yolov5.activation import ACTIVATIONS, Activation, activation, parse_activation
from compressor.models.yolov5.architecture import architecture_from_yaml, architecture_to_yaml, stock_architecture
from compressor.models.yolov5.blocks import activation_module
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.fuse import fuse
from compressor.models.yolov5.onednn import prepare_for_cpu
from tests.decoded import predict
from tests.models.yolov5.test_checkpoint import LookAlikes, fault, look_alikes, save
from trials.seeded import fill

__all__ = ["look_alikes"]  # the fixture

EVERY = [*(activation(kind, {}) for kind in ACTIVATIONS), parse_activation("nn.LeakyReLU(0.1)")]
EVERY += [parse_activation("nn.GELU(approximate='tanh')"), parse_activation("nn.Hardtanh(-2, 3)")]


def network(kind: Activation) -> Detector:
    stock = stock_architecture("v6", "n", nc=3)
    return fill(build(replace(stock, width_multiple=0.0625, activation=kind))).eval().requires_grad_(False)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.text)
def test_each_is_torchs_own_and_survives_its_text(kind: Activation) -> None:
    assert parse_activation(kind.text) == kind
    x = torch.linspace(-30, 30, 301)
    expected = getattr(nn, kind.kind)(*kind.settings)(x.clone())
    assert torch.equal(activation_module(kind)(x.clone()), expected)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("nn.ReLU()", Activation("ReLU")),
        (" nn.SiLU(inplace=True) ", Activation()),
        ("torch.nn.LeakyReLU(0.1, inplace=True)", Activation("LeakyReLU", (0.1,))),
        ("nn.LeakyReLU(negative_slope=1e-2)", Activation("LeakyReLU", (0.01,))),
        ("nn.LeakyReLU(0.1, True)", Activation("LeakyReLU", (0.1,))),
        ("Hardswish()", Activation("Hardswish")),
    ],
)
def test_notations(text: str, kind: Activation) -> None:
    assert parse_activation(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        *("nn.PReLU()", "nn.RReLU()", "nn.Softmax(1)", "nn.ReLU", "ReLU", "", "nn.ReLU(1)(2)", "nn.LeakyReLU(x=1)"),
        *("nn.LeakyReLU(1e999)", "nn.LeakyReLU(nan)", "nn.LeakyReLU('a')", "nn.GELU('x')", "nn.LeakyReLU(0.1, 0.1, 1)"),
        *("nn.LeakyReLU(0.1, negative_slope=0.2)", "__import__('os').system('touch ran')", "nn.ReLU(" * 1000),
        "nn.LeakyReLU(__import__('os').system('touch ran'))",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="activation"):
        parse_activation(text)


def test_a_table_that_names_none_of_them_is_refused_in_a_sentence() -> None:
    yaml = {**architecture_to_yaml(stock_architecture("v6", "n")), "activation": "nn.PReLU()"}
    with pytest.raises(CheckpointError, match=r"x\.pt: W304 the activation 'nn\.PReLU\(\)' is not supported"):
        architecture_from_yaml(yaml, 80, stock_architecture("v6", "n").anchors, "x.pt")


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.text)
def test_fused_kernels_compute_the_same(kind: Activation) -> None:
    model = fuse(network(kind))
    prepared = copy.deepcopy(model)
    prepare_for_cpu(prepared)
    images = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(prepared(images), model(images), strict=True):
        assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


LEAKY = parse_activation("nn.LeakyReLU(0.1)")


def read_back(place: Path, model: Detector, form: str) -> Detector:
    """A model through a file of ours."""
    match form:
        case "yolov5":
            (place / "x.pt").write_bytes(checkpoint_bytes(model, torch.float32))
            return load_model(place / "x.pt").model
        case "dense":
            content = state_dict_bytes(model, "float32")
        case _:
            content = encode_model(model, Form("float32", "bitmask"), Provenance({}, "tiny", "0" * 64))
    (place / "x.safetensors").write_bytes(content)
    return load_model(place / "x.safetensors").model


@pytest.mark.parametrize("form", ["artifact", "yolov5", "dense"])
def test_files_carry_the_activation(tmp_path: Path, form: str) -> None:
    model = network(LEAKY)
    found = read_back(tmp_path, model, form)
    assert found.spec == model.spec and "LeakyReLU(0.1)" in found.spec.name
    wanted = model.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.state_dict().items())
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predict(found, images), predict(model, images), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(predict(found, images), predict(network(Activation()), images), atol=1e-1)


def test_silu_adds_nothing_to_a_layer_table() -> None:
    assert "activation" not in architecture_to_yaml(stock_architecture("v6", "n"))


@pytest.mark.parametrize("stated", [True, False])
def test_a_checkpoint_is_built_with_the_activation_of_its_modules(
    tmp_path: Path, look_alikes: LookAlikes, stated: bool
) -> None:
    model = network(LEAKY)
    yaml: dict[str, Any] = architecture_to_yaml(model.spec)
    if not stated:  # as where the default was changed in the source
        del yaml["activation"]
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model, yaml=yaml))).model
    images = torch.rand(1, 3, 32, 32)
    assert found.spec.activation == LEAKY and torch.equal(predict(found, images), predict(model, images))


def test_settings_of_a_pickled_activation_are_checked(tmp_path: Path, look_alikes: LookAlikes) -> None:
    root = look_alikes.root(network(LEAKY))
    for module in root.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = float("nan")
    del root.yaml["activation"]  # type: ignore[union-attr, operator]
    message = fault(save(tmp_path / "x.pt", root))
    assert message == "W304 the negative_slope of the activation LeakyReLU, of model.0.act, is not supported"
