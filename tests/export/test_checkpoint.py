"""A `.pt` for stock YOLOv5: it holds what upstream's files hold, and runs where only the class names are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from compressor.artifact.load import load_model
from compressor.export.checkpoint import checkpoint_bytes
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.containers import open_container
from compressor.models.yolov5.convolutions import with_widths
from compressor.models.yolov5.fuse import fuse
from compressor.models.yolov5.references import Inert, StoredTensor
from tests.decoded import predict
from trials.seeded import fill
from trials.tiny import tiny_model

OF_TRAINING = {"yaml_file", "hyp", "class_weights", "gr"}  # what training leaves: there, with values of its own
DEFINED_ANEW = {"grid", "anchor_grid", "stride", "name", "inplace"}


def modules(file: Path) -> dict[str, Inert]:
    """Every module of a checkpoint by its dotted name."""

    def walk(module: Inert, name: str) -> dict[str, Inert]:
        found = {name: module}
        for child, each in module.state["_modules"].items():
            if isinstance(each, Inert):
                found |= walk(each, f"{name}.{child}")
        return found

    with open_container(file) as container:
        return walk(container.root["model"], "model")


@pytest.mark.parametrize("name", ["tiny_v5.0_stripped", "tiny_v6.0_stripped", "tiny_v7.0_stripped"])
def test_holds_all_that_upstreams_own_file_holds(golden: Path, tmp_path: Path, name: str) -> None:
    original = golden / "checkpoints" / f"{name}.pt"
    copy = tmp_path / "copy.pt"
    copy.write_bytes(checkpoint_bytes(load_model(original).stored, torch.float16))
    theirs, ours = modules(original), modules(copy)
    assert list(ours) == list(theirs)
    for place, module in theirs.items():
        mine = ours[place]
        assert mine.name == module.name.replace("DetectionModel", "Model")
        assert set(module.state) - {"name"} <= set(mine.state), place
        for key, value in module.state.items():
            if isinstance(value, int | float | str | tuple) and key not in OF_TRAINING | DEFINED_ANEW:
                assert mine.state[key] == value, (place, key)
        for kind in ("_parameters", "_buffers"):
            assert set(mine.state[kind]) == set(module.state[kind]), place
            for key, tensor in module.state[kind].items():
                if isinstance(tensor, StoredTensor):
                    assert (mine.state[kind][key].shape, mine.state[kind][key].array.type) == (
                        tensor.shape,
                        tensor.array.type,
                    )
    names = theirs["model"].state["names"]  # a mapping since v7.0; a list reads right in every release
    assert ours["model"].state["names"] == (list(names.values()) if isinstance(names, dict) else names)
    assert isinstance(ours["model"].state["yaml_file"], str)
    assert ours["model"].state["class_weights"].shape == theirs["model"].state["class_weights"].shape
    assert set(theirs["model"].state["hyp"]) <= set(ours["model"].state["hyp"])
    assert ours["model"].state["save"] == theirs["model"].state["save"]
    assert _rows(ours["model"].state["yaml"]) == _rows(theirs["model"].state["yaml"])


def _rows(yaml: dict[str, Any]) -> list[Any]:
    """The layer tables, words such as `None` as upstream reads them."""
    words = {"None": None, "False": False, "True": True}
    return [
        [source, repeats, module, [words.get(arg, arg) if isinstance(arg, str) else arg for arg in args]]
        for source, repeats, module, args in yaml["backbone"] + yaml["head"]
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("fused", [False, True])
def test_reads_back_as_the_same_network(tmp_path: Path, dtype: torch.dtype, *, fused: bool) -> None:
    model = tiny_model(fused=fused)
    for parameter in model.parameters():
        parameter.copy_(parameter.to(dtype))
        if parameter.ndim == 4:
            parameter[parameter.abs() < parameter.abs().median()] = 0
    for buffer in model.buffers():
        buffer.copy_(buffer.to(dtype))
    file = tmp_path / "model.pt"
    file.write_bytes(checkpoint_bytes(model, dtype))
    found = read_checkpoint(file)
    assert found.dtype == str(dtype).removeprefix("torch.")
    assert (found.model.names, found.model.strides) == (model.names, model.strides)
    assert found.model.spec.anchors == model.spec.anchors
    wanted, ours = fuse(model).state_dict(), fuse(found.model).state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in wanted.items())


def test_same_model_gives_the_same_bytes_and_leaves_no_module_behind() -> None:
    before = set(sys.modules)
    assert checkpoint_bytes(tiny_model(), torch.float16) == checkpoint_bytes(tiny_model(), torch.float16)
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] == "models"}


# How YOLOv5's classes use what they find in a file, in our own words: the forward passes of the specification, the
# folding that loading begins with, and nothing that the file does not hold.
STANDS_IN = """
import sys, torch, types
from torch import nn
models, common, yolo = (types.ModuleType(n) for n in ("models", "models.common", "models.yolo"))
def put(module, kind):
    kind.__module__ = module.__name__
    setattr(module, kind.__name__, kind)
class Conv(nn.Module):
    def forward(self, x): return self.act(self.bn(self.conv(x)) if hasattr(self, "bn") else self.conv(x))
class Bottleneck(nn.Module):
    def forward(self, x): return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))
class C3(nn.Module):
    def forward(self, x): return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
class SPP(nn.Module):
    def forward(self, x):
        x = self.cv1(x)
        return self.cv2(torch.cat([x] + [m(x) for m in self.m], 1))
class SPPF(nn.Module):
    def forward(self, x):
        x = self.cv1(x); a = self.m(x); b = self.m(a)
        return self.cv2(torch.cat((x, a, b, self.m(b)), 1))
class Focus(nn.Module):
    def forward(self, x):
        return self.conv(torch.cat([x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1))
class Concat(nn.Module):
    def forward(self, x): return torch.cat(x, self.d)
class Detect(nn.Module):
    def forward(self, x):
        out = []
        for i in range(self.nl):
            y = self.m[i](x[i]); b, _, h, w = y.shape
            y = y.view(b, self.na, self.no, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
            gy, gx = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack((gx, gy), -1).float()
            size = (self.anchors[i] * self.stride[i]).view(1, self.na, 1, 1, 2)
            assert isinstance(self.anchor_grid, list) or torch.equal(self.anchor_grid[i].view_as(size), size)
            xy = (y[..., :2] * 2 - 0.5 + grid) * self.stride[i]
            out.append(torch.cat((xy, (y[..., 2:4] * 2) ** 2 * size, y[..., 4:]), -1).view(b, -1, self.no))
        return torch.cat(out, 1)
class Model(nn.Module):
    def forward(self, x):
        y = []
        for m in self.model:
            if m.f != -1:
                x = y[m.f] if isinstance(m.f, int) else [x if j == -1 else y[j] for j in m.f]
            x = m(x)
            y.append(x if m.i in self.save else None)
        return x
for kind in (Conv, Bottleneck, C3, SPP, SPPF, Focus, Concat): put(common, kind)
for kind in (Detect, Model): put(yolo, kind)
sys.modules.update({"models": models, "models.common": common, "models.yolo": yolo})
file, given, out = sys.argv[1:]
content = torch.load(file, map_location="cpu", weights_only=False)
model = (content.get("ema") or content["model"]).float()
for m in model.modules():  # loading for inference folds every BatchNorm
    if type(m) is Conv and hasattr(m, "bn"):
        scale = m.bn.weight / torch.sqrt(m.bn.eps + m.bn.running_var)
        m.conv.bias = nn.Parameter(m.bn.bias - m.bn.running_mean * scale, requires_grad=False)
        m.conv.weight = nn.Parameter(m.conv.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
        del m.bn
model.eval()
names = {k: v for k, v in enumerate(model.names)}  # as releases up to v6.2 read them, and later ones read a list
assert names == {0: "disc", 1: "box", 2: "bar"} and model.yaml["nc"] == 3 and int(model.stride.max()) == 32
with torch.no_grad():
    torch.save(model(torch.load(given)), out)
"""


@pytest.mark.parametrize("generation", ["v5", "v6", "v6 with widths"])
@pytest.mark.parametrize("fused", [False, True])
def test_runs_as_a_program_that_knows_only_its_own_classes(tmp_path: Path, generation: Any, *, fused: bool) -> None:
    model = tiny_model()
    if generation == "v5":
        model = fill(build(stock_architecture("v5", "s", nc=3), ("disc", "box", "bar"))).eval().requires_grad_(False)
    if generation == "v6 with widths":
        widths = {"model.2.m.0.cv1.conv": 3, "model.4.cv2.conv": 5, "model.9.cv1.conv": 11, "model.10.conv": 21}
        architecture = with_widths(model.spec, widths)
        model = fill(build(architecture, ("disc", "box", "bar"))).eval().requires_grad_(False)
    model = fuse(model) if fused else model
    images = torch.rand(2, 3, 64, 96)
    file, given, out = (tmp_path / name for name in ("model.pt", "images.pt", "out.pt"))
    file.write_bytes(checkpoint_bytes(model, torch.float32))
    torch.save(images, given)
    done = subprocess.run(
        [sys.executable, "-c", STANDS_IN, file, given, out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        wanted = predict(fuse(model), images)
    assert torch.allclose(torch.load(out), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["yolov5n_coco.pt", "animals_nc3.pt"])
def test_settings_of_training_are_those_that_upstream_scales(shared: Path, tmp_path: Path, name: str) -> None:
    original, copy = shared / "data" / "weights" / name, tmp_path / "copy.pt"
    copy.write_bytes(checkpoint_bytes(load_model(original).stored, torch.float16))
    theirs, ours = (modules(file)["model"].state for file in (original, copy))
    assert set(theirs) <= set(ours)
    assert ours["yaml_file"] == theirs["yaml_file"] == "yolov5n.yaml"
    assert set(theirs["hyp"]) == set(ours["hyp"])
    assert ours["hyp"]["cls"] == pytest.approx(theirs["hyp"]["cls"])
    assert ours["class_weights"].shape == theirs["class_weights"].shape
