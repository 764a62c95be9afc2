"""Modules of a file that would compute otherwise than its layer table says, by each attribute that can make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compressor.models.yolov5.attributes import computing
from compressor.models.yolov5.blocks import Concat
from compressor.models.yolov5.checkpoint import read_checkpoint
from tests.models.yolov5.test_checkpoint import LookAlikes, assert_equal_state, fault, look_alikes, save, tiny

__all__ = ["look_alikes"]  # the fixture


def at(name: str, attribute: str, value: Any) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        root.get_submodule(name).__dict__[attribute] = value

    return change


def hooked(root: Any) -> None:
    root.get_submodule("model.3").__dict__["_forward_hooks"] = {0: nn.ReLU()}


def hooked_before(root: Any) -> None:
    root.get_submodule("model.3").__dict__["_forward_pre_hooks"] = {0: nn.ReLU()}


def another_forward(root: Any) -> None:
    module = root.get_submodule("model.3")
    module.forward = module.forward_fuse  # although its BatchNorm is there


def another_order(root: Any) -> None:
    layers = root.get_submodule("model").__dict__["_modules"]
    layers["8"] = layers.pop("8")


def one_more(root: Any) -> None:
    root.get_submodule("model.3").register_module("extra", nn.Upsample(scale_factor=2))


def another_class(root: Any) -> None:
    root.get_submodule("model").__dict__["_modules"]["11"] = nn.Identity()


def one_less(root: Any) -> None:
    del root.get_submodule("model.9").__dict__["_modules"]["m"]


def hidden(root: Any) -> None:
    root.get_submodule("model.3").__dict__["bn"] = nn.Identity()


def one_activation(root: Any) -> None:
    root.get_submodule("model.3").act = nn.LeakyReLU(0.1)


def unknown_activation(root: Any) -> None:
    root.get_submodule("model.0").act = nn.PReLU()


POOL, UP, CONV, BN = "model.9.m", "model.11", "model.3.conv", "model.3.bn"
OTHER = {
    **{
        f"{attribute} of {name}": (at(name, attribute, value), f"W304 {attribute} {shown} of {name}")
        for name, attribute, value, shown in (
            (CONV, "dilation", (2, 2), "(2, 2)"),
            (CONV, "padding", (0, 0), "(0, 0)"),
            (CONV, "padding_mode", "reflect", "'reflect'"),
            (CONV, "stride", (1, 1), "(1, 1)"),
            (CONV, "groups", 2, "2"),
            (CONV, "transposed", True, "True"),
            (CONV, "output_padding", (1, 1), "(1, 1)"),
            (POOL, "kernel_size", 3, "3"),
            (POOL, "stride", 2, "2"),
            (POOL, "padding", 1, "1"),
            (POOL, "dilation", 2, "2"),
            (POOL, "ceil_mode", True, "True"),
            (POOL, "return_indices", True, "True"),
            (BN, "eps", 1e-5, "1e-05"),
            (BN, "affine", False, "False"),
            (BN, "track_running_stats", False, "False"),
            (UP, "mode", "bilinear", "'bilinear'"),
            (UP, "scale_factor", 3.0, "3.0"),
            (UP, "size", (64, 64), "(64, 64)"),
            (UP, "align_corners", True, "True"),
            ("model.2.m.0", "add", False, "False"),
            ("model.13.m.0", "add", True, "True"),
            ("model.12", "d", 2, "2"),
            ("model.24", "nc", 2, "2"),
            ("model.24", "na", 2, "2"),
            ("model.24", "nl", 2, "2"),
            ("model.24", "no", 2, "2"),
            ("model.24", "stride", torch.tensor([8.0, 16.0, 64.0]), "(8.0, 16.0, 64.0)"),
            ("model.12", "f", [-1, 5], "(-1, 5)"),
            ("model.12", "i", 11, "11"),
        )
    },
    "stride of the model": (
        lambda root: setattr(root, "stride", torch.tensor([8.0])),
        "W304 stride (8.0) of the model",
    ),
    "a hook": (hooked, "W304 the hook torch.nn.modules.activation.ReLU of model.3"),
    "a hook before": (hooked_before, "W304 the hook torch.nn.modules.activation.ReLU of model.3"),
    "another forward": (another_forward, "W304 the method `forward` of model.3"),
    "another order": (another_order, "W304 another order of modules in model"),
    "one more": (one_more, "W304 the module torch.nn.modules.upsampling.Upsample as model.3.extra"),
    "another class": (another_class, "W304 a torch.nn.modules.linear.Identity as model.11, where the layer table has"),
    "one less": (one_less, "W304 a network without the MaxPool2d model.9.m"),
    "a hidden module": (hidden, "W304 the attribute bn of model.3, which hides what is stored"),
    "one activation": (one_activation, "W304 the activation nn.LeakyReLU(0.1) of model.3.act, where"),
    "an unknown activation": (unknown_activation, "W304 the module torch.nn.modules.activation.PReLU of model.0.act"),
}


@pytest.mark.parametrize("case", OTHER)
def test_what_computes_otherwise_is_named(tmp_path: Path, look_alikes: LookAlikes, case: str) -> None:
    change, expected = OTHER[case]
    root = look_alikes.root(tiny())
    change(root)
    message = fault(save(tmp_path / "x.pt", root))  # apart: a failing assertion would print the tree
    assert message.startswith(expected)


def test_attributes_as_upstream_writes_them_are_read(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = tiny()
    root: Any = look_alikes.root(model.half())
    for index, (layer, row) in enumerate(zip(root.model, model.spec.rows, strict=True)):
        layer.__dict__.update(i=index, f=row.sources[0] if len(row.sources) == 1 else list(row.sources), np=1, type="x")
    head = root.model[24]
    head.__dict__.update(nc=3, no=8, nl=3, na=3, inplace=True, stride=torch.tensor([8.0, 16.0, 32.0]).half())
    head.__dict__["anchor_grid"] = [torch.zeros(1).expand(1, 3, 80, 80, 2)] * 3  # larger than its storage
    root.model[12].__dict__["d"] = 1
    root.model[2].m[0].__dict__["add"] = True
    root.model[9].m.__dict__["kernel_size"] = (5, 5)
    root.model[1].bn.__dict__["momentum"] = 0.1  # counts in training alone
    found = read_checkpoint(save(tmp_path / "x.pt", root)).model
    assert_equal_state(found, tiny().state_dict(), torch.float16)


# Constants of torch's own classes that change nothing in evaluation mode, or are those of the tensors.
HARMLESS = {
    *("in_channels", "out_channels", "num_features", "momentum", "name", "recompute_scale_factor"),
}


@pytest.mark.parametrize(
    "module",
    [nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)],
    ids=lambda module: type(module).__name__,
)
def test_every_constant_of_a_class_is_compared_or_known_to_be_harmless(module: nn.Module) -> None:
    compared = {name for name, _ in computing(module)}
    by_tensors = {"kernel_size"} if isinstance(module, nn.Conv2d) else set()
    constants = next(vars(kind)["__constants__"] for kind in type(module).__mro__ if "__constants__" in vars(kind))
    assert set(constants) <= compared | HARMLESS | by_tensors


def test_blocks_without_constants_are_compared_too() -> None:
    assert dict(computing(Concat())) == {"d": 1}
