"""The reader against real files, golden files, and files written here by torch.save from look-alike classes."""

from __future__ import annotations

import argparse
import sys
import types
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from compressor.errors import CheckpointError
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import Architecture, Generation, architecture_to_yaml, stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.detect import head_of
from compressor.models.yolov5.fuse import fuse
from tests.decoded import predict
from tests.models.yolov5.test_build import assert_outputs_equal_the_vectors
from trials.seeded import fill, fill_array

CLASSES = {
    "models.yolo": ("Model", "DetectionModel", "SegmentationModel", "ClassificationModel", "Detect"),
    "models.common": ("Conv", "Bottleneck", "BottleneckCSP", "C3", "SPP", "SPPF", "Focus", "Concat", "AutoShape"),
}
MODULE_KEYS = frozenset(nn.Module().__dict__)


def forward_fuse(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("a look-alike only carries tensors")


class LookAlikes:
    """Empty classes under upstream's module and class names, and module trees made of them.

    Args:
        prefix: of the modules' names, as other packages have it.
    """

    def __init__(self, prefix: str = "") -> None:
        parts = [prefix[:end] for end, letter in enumerate(prefix) if letter == "."]
        names = [*parts, *(f"{prefix}{name}" for name in ("models", *CLASSES))]
        self.modules = {name: types.ModuleType(name) for name in names}
        self.classes: dict[str, type[nn.Module]] = {}
        for module, kinds in CLASSES.items():
            for kind in kinds:
                members = {"__module__": f"{prefix}{module}", "forward_fuse": forward_fuse}
                self.classes[kind] = type(kind, (nn.Module,), members)
                setattr(self.modules[f"{prefix}{module}"], kind, self.classes[kind])

    def tree(self, module: nn.Module) -> nn.Module:
        """The same tensors in a tree of look-alikes; torch's own modules stay what they are."""
        kind = self.classes.get(type(module).__name__, type(module))
        own = type(module) is kind
        twin = kind.__new__(kind)
        twin.__dict__.update({key: value for key, value in module.__dict__.items() if own or key in MODULE_KEYS})
        children = ((name, child) for name, child in module._modules.items() if child is not None)
        twin.__dict__["_modules"] = {name: self.tree(child) for name, child in children}
        return twin

    def root(self, model: Detector, kind: str = "DetectionModel", **attributes: Any) -> nn.Module:
        """A whole model, with the attributes that upstream keeps on it."""
        root = self.classes[kind]()
        root.model = self.tree(model.model)
        stated = {
            "yaml": architecture_to_yaml(model.spec),
            "names": dict(enumerate(model.names)),
            "nc": model.spec.nc,
            "stride": torch.tensor(model.strides, dtype=torch.float32),
            "hyp": {"lr0": 0.01, "anchors": None},
        }
        for name, value in {**stated, **attributes}.items():
            setattr(root, name, value)
        return root


@pytest.fixture
def look_alikes(monkeypatch: pytest.MonkeyPatch) -> LookAlikes:
    made = LookAlikes()
    for name, module in made.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def tiny(generation: Generation = "v6", **changes: Any) -> Detector:
    stock = stock_architecture(generation, "s", nc=3)
    architecture = replace(stock, depth_multiple=0.33, width_multiple=0.0625, **changes)
    return fill(build(architecture, tuple("abc"[: architecture.nc]))).eval()


def save(path: Path, root: nn.Module | None, *, legacy: bool = False, **contents: Any) -> Path:
    stated = {"epoch": -1, "best_fitness": None, "model": root, "ema": None, "optimizer": None, **contents}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old container wants source texts, which look-alikes do not have
        torch.save(stated, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_equal_state(found: nn.Module, expected: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    state = found.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        if name.endswith("anchor_grid"):  # made anew from the anchors, see below
            continue
        want = value.to(dtype).float() if value.is_floating_point() else value
        assert state[name].dtype == want.dtype
        assert torch.equal(state[name], want), name


def layer(root: Any, index: int) -> Any:
    return root.model[index]


def fault(path: Path) -> str:
    """The text of the error that reading ends in, once it is known to be the user's to see."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 2
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.path == str(path) and diagnostic.help
    return f"{diagnostic.code} {diagnostic.message}"


GOLDEN = {
    "tiny_v5.0_stripped": ("zip", "model", "models.yolo.Model", -1, None, False, 362),
    "tiny_v5.0_legacy": ("legacy", "model", "models.yolo.Model", -1, None, False, 362),
    "tiny_v6.0_stripped": ("zip", "model", "models.yolo.Model", -1, None, False, 349),
    "tiny_v7.0_stripped": ("zip", "model", "models.yolo.DetectionModel", -1, "2022-11-22T16:23:47", False, 349),
    "tiny_v7.0_training_ema": ("zip", "ema", "models.yolo.DetectionModel", 3, "2022-11-22T16:23:47", True, 349),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_checkpoints_are_recovered_exactly(golden: Path, name: str) -> None:
    found = read_checkpoint(golden / "checkpoints" / f"{name}.pt")
    state = found.model.state_dict()
    facts = (found.container, found.weights, found.pickled_class, found.epoch, found.date, found.has_optimizer)
    assert (*facts, len(state)) == GOLDEN[name]
    assert found.dtype == "float16"
    assert found.model.names == ("red", "green", "blue")
    for key, value in state.items():
        expected = fill_array(key, tuple(value.shape))
        if expected is not None:
            assert np.array_equal(value.numpy(), expected.astype(np.float16).astype(np.float32)), key
        if key.endswith("num_batches_tracked"):
            assert value.dtype == torch.int64 and value.item() == 7
    stock = stock_architecture("v5" if "v5.0" in name else "v6", "s", nc=3)
    assert found.model.spec == replace(stock, depth_multiple=0.33, width_multiple=0.0625)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("generation", ["v5", "v6"])
def test_a_written_checkpoint_computes_what_the_committed_vectors_say(
    tmp_path: Path, look_alikes: LookAlikes, generation: Generation, legacy: bool
) -> None:
    root = look_alikes.root(tiny(generation), "Model")
    file = save(tmp_path / "a.pt", root, legacy=legacy)
    assert_outputs_equal_the_vectors(read_checkpoint(file).model.eval(), generation)


REAL = {
    "waste_nc2": ("Biodegradable", "Non-biodegradable"),
    "animals_nc3": ("wild boar", "deer", "bear"),
    "helmet_vest_nc2": ("helmet", "vest"),
}


@pytest.mark.parametrize("name", REAL)
def test_custom_checkpoints_load_with_their_own_classes(shared: Path, name: str) -> None:
    found = read_checkpoint(shared / "data" / "weights" / f"{name}.pt")
    assert found.model.names == REAL[name]
    assert found.model.spec.name == "YOLOv5n"
    with torch.no_grad():
        boxes = predict(found.model, torch.zeros(1, 3, 64, 64))
    assert boxes.shape == (1, 252, 5 + len(REAL[name])) and boxes.isfinite().all()


@pytest.mark.parametrize("name", ["yolov5n_coco", "yolov5n_coco_resaved"])
def test_official_checkpoint_equals_its_safetensors_copy(shared: Path, name: str) -> None:
    found = read_checkpoint(shared / "data" / "weights" / f"{name}.pt")
    assert found.model.spec == stock_architecture("v6", "n")
    assert (found.model.names[0], found.model.names[79]) == ("person", "toothbrush")
    assert sum(p.numel() for p in found.model.parameters()) == 1_872_157
    copy = load_file(shared / "data" / "weights" / "yolov5n_coco.safetensors")
    assert_equal_state(found.model, reordered(copy, found.model), torch.float16)


def reordered(state: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    assert set(state) == set(model.state_dict())
    return {name: state[name] for name in model.state_dict()}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("generation", ["v5", "v6"])
def test_every_container_and_number_type(
    tmp_path: Path, look_alikes: LookAlikes, generation: Generation, dtype: torch.dtype, legacy: bool
) -> None:
    model = tiny(generation)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    path = save(tmp_path / "x.pt", look_alikes.root(model.to(dtype), "Model", names=list("abc")), legacy=legacy)
    found = read_checkpoint(path)
    assert (found.container, f"torch.{found.dtype}") == ("legacy" if legacy else "zip", str(dtype))
    assert found.model.names == ("a", "b", "c")
    assert not found.model.training and not any(p.requires_grad for p in found.model.parameters())
    assert_equal_state(found.model, expected, dtype)


def test_zip_without_byteorder_and_under_any_folder_name(tmp_path: Path, look_alikes: LookAlikes) -> None:
    path = save(tmp_path / "x.pt", look_alikes.root(tiny()))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y.pt", "w") as new:
        for entry in old.infolist():
            inner = entry.filename.partition("/")[2]
            if inner.startswith("data"):
                new.writestr(f"some folder/{inner}", old.read(entry))
    assert_equal_state(read_checkpoint(tmp_path / "y.pt").model, tiny().state_dict(), torch.float32)


def test_training_checkpoint_gives_its_ema(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model, ema = tiny(), tiny()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sum(p.sum() for p in model.parameters()).backward()  # type: ignore[union-attr]  # a sum of tensors
    optimiser.step()
    path = save(
        tmp_path / "last.pt",
        look_alikes.root(model),
        ema=look_alikes.root(ema),
        optimizer=optimiser.state_dict(),
        epoch=7,
        date="2023-01-02",
        best_fitness=np.array([0.5]),
        updates=np.float64(3),
        opt=argparse.Namespace(
            save_dir=tmp_path, device=torch.device("cpu"), dtype=torch.float16, size=torch.Size([2])
        ),
    )
    found = read_checkpoint(path)
    assert (found.weights, found.epoch, found.date, found.has_optimizer) == ("ema", 7, "2023-01-02", True)
    assert_equal_state(found.model, ema.state_dict(), torch.float32)


@pytest.mark.parametrize("legacy", [False, True])
def test_shared_storages_offsets_and_strides(tmp_path: Path, look_alikes: LookAlikes, legacy: bool) -> None:
    model = tiny()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
        start += parameter.numel()
    stem = layer(model, 0).conv.weight
    stem.data = stem.data.to(memory_format=torch.channels_last)
    assert not stem.is_contiguous()
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model), legacy=legacy))
    assert_equal_state(found.model, expected, torch.float32)


@pytest.mark.parametrize("legacy", [False, True])
def test_fused_checkpoint_stays_fused(tmp_path: Path, look_alikes: LookAlikes, legacy: bool) -> None:
    model = fuse(tiny())
    root = look_alikes.root(model)
    for module in root.modules():
        if type(module).__name__ == "Conv":
            module.forward = module.forward_fuse  # type: ignore[assignment]  # as fusing does: a bound method
    found = read_checkpoint(save(tmp_path / "x.pt", root, legacy=legacy)).model
    assert found.fused
    assert_equal_state(found, model.state_dict(), torch.float32)


def test_a_table_of_no_stock_size_is_rebuilt(tmp_path: Path, look_alikes: LookAlikes) -> None:
    architecture: Architecture = replace(stock_architecture("v6", "n", nc=1), depth_multiple=0.7, width_multiple=0.1)
    model = fill(build(architecture, ("thing",)))
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model))).model
    assert found.spec == architecture
    assert_equal_state(found, model.state_dict(), torch.float32)


def test_anchors_come_from_the_buffer(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = tiny("v5")
    head_of(model).anchors.copy_(torch.arange(1, 19).view(3, 3, 2) / 10)
    yaml = {**architecture_to_yaml(model.spec), "anchors": 3}
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model.half(), yaml=yaml))).model
    in_file = (torch.arange(1, 19).view(3, 3, 2) / 10).half().float()
    pixels = in_file * torch.tensor([8.0, 16.0, 32.0]).view(3, 1, 1)
    assert torch.equal(head_of(found).anchors, in_file)
    assert torch.equal(torch.tensor(found.spec.anchors), pixels)
    assert torch.equal(found.state_dict()["model.24.anchor_grid"].view(3, 3, 2), pixels)


def test_class_count_is_found_without_the_attribute(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = tiny()
    yaml = {key: value for key, value in architecture_to_yaml(model.spec).items() if key != "nc"}
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model, yaml=yaml, nc=None)))
    assert found.model.spec.nc == 3


def _other_activation(root: nn.Module) -> None:
    layer(root, 1).act = nn.Hardswish()


def _other_epsilon(root: nn.Module) -> None:
    layer(root, 1).bn.eps = 1e-5


def _other_shape(root: nn.Module) -> None:
    layer(root, 1).conv.weight = nn.Parameter(torch.zeros(3, 2, 1, 1))


def _tensor_missing(root: nn.Module) -> None:
    del layer(root, 1).conv


def _tensor_too_many(root: nn.Module) -> None:
    root.register_buffer("mask", torch.zeros(2))


def _not_finite(root: nn.Module) -> None:
    layer(root, 1).conv.weight.data[0, 0, 0, 0] = float("nan")


def _negative_variance(root: Any) -> None:
    layer(root, 1).bn.running_var[:2] = -0.5


def _yaml(key: str, value: Any) -> Callable[[nn.Module], None]:
    def change(root: Any) -> None:
        root.yaml[key] = value

    return change


def _attribute(key: str, value: Any) -> Callable[[nn.Module], None]:
    return lambda root: setattr(root, key, value)


CHANGES = [
    (_other_activation, "W304 the activation nn.Hardswish() of model.1.act, where the network's is nn.SiLU(), is not"),
    (
        _other_epsilon,
        "W304 eps 1e-05 of model.1.bn (torch.nn.modules.batchnorm.BatchNorm2d), where its layer table makes 0.001",
    ),
    (_other_shape, "W305 model.1.conv.weight is [3, 2, 1, 1] in the file and [8, 8, 3, 3] by its layer table"),
    (_tensor_missing, "W305 model.1.conv.weight is missing in the file and [8, 8, 3, 3] by its layer table"),
    (_tensor_too_many, "W305 mask is [2] in the file and missing by its layer table"),
    (_attribute("nc", 4), "W305 the file states 4 classes, but its detection layer has 24 output channels"),
    (_yaml("width_multiple", 2), "W305 model.0.conv.weight is [8, 3, 6, 6] in the file and [128, 3, 6, 6]"),
    (_yaml("width_multiple", 99), "W330 its layer table asks for"),
    (_yaml("width_multiple", 1e5), "W330 its width_multiple is 100000, and at most 100 is read"),
    (_yaml("depth_multiple", 50), "W305 model.2.m.1.cv1.conv.weight is missing in the file"),
    (_yaml("depth_multiple", 1e9), "W330 its depth_multiple is 1e+09, and at most 100 is read"),
    (_not_finite, "W306 model.1.conv.weight holds 1 values that are infinite or not a number"),
    (_negative_variance, "W306 model.1.bn.running_var holds 2 values below 0, which no variance is"),
    (_attribute("names", ["a", "b"]), "W307 the file has 2 class names for its 3 classes"),
    (
        _attribute("names", {0: "a", 1: "b", 3: "c"}),
        "W307 the file's 3 class names are not one text each for the classes 0 to 2",
    ),
    (_attribute("names", None), "W307 the file has no class names"),
    (_attribute("names", ["a", "b\ud800", "c"]), "W307 the class name 'b\\ud800' holds a half of a character"),
    (_yaml("head", []), "W305 the file lacks model.9.anchors"),
    (_yaml("width_multiple", float("inf")), "W311 its layer table makes no network"),
    (_yaml("depth_multiple", "deep"), "W311 its layer table cannot be read"),
    (
        _yaml("activation", "nn.ReLU()"),
        "W304 the activation nn.SiLU() of model.0.act, where the network's is nn.ReLU()",
    ),
    (_yaml("activation", "nn.PReLU()"), "W304 the activation 'nn.PReLU()' is not supported"),
    (_yaml("activation", "__import__('os').system('touch ran')"), "W304 the activation \"__import__('os')"),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_what_does_not_fit_is_named(
    tmp_path: Path, look_alikes: LookAlikes, change: Callable[[nn.Module], None], expected: str
) -> None:
    root = look_alikes.root(tiny())
    change(root)
    assert fault(save(tmp_path / "x.pt", root)).startswith(expected)


def test_modules_of_other_networks_are_named(tmp_path: Path, look_alikes: LookAlikes) -> None:
    root = look_alikes.root(tiny())
    root.get_submodule("model").register_module("2", look_alikes.classes["BottleneckCSP"]())
    assert (
        fault(save(tmp_path / "x.pt", root))
        == "W304 the module models.common.BottleneckCSP of model.2 is not supported"
    )
    root = look_alikes.root(tiny(), "SegmentationModel")
    assert (
        fault(save(tmp_path / "y.pt", root))
        == "W304 a segmentation model (models.yolo.SegmentationModel) is not supported"
    )


def test_a_layer_table_naming_another_module(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = tiny()
    yaml = architecture_to_yaml(model.spec)
    yaml["backbone"][2][2] = "BottleneckCSP"
    assert "W304 the module 'BottleneckCSP'" in fault(save(tmp_path / "x.pt", look_alikes.root(model, yaml=yaml)))


def test_what_is_no_checkpoint(tmp_path: Path, look_alikes: LookAlikes) -> None:
    assert fault(tmp_path / "none.pt").startswith("W301 the checkpoint cannot be opened: No such file")
    assert fault(tmp_path).startswith("W301 the checkpoint cannot be opened: Is a directory")
    samples = {
        b"": "the file is empty",
        b"version https://git-lfs.github.com/spec/v1": "it is a Git LFS pointer",
        b"\n<!DOCTYPE html>": "it is a web page",
        b"\x80\x02}q\x00.": "it starts like no file of torch.save",
    }
    for number, (content, expected) in enumerate(samples.items()):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(content)
        assert f"W302 not a readable YOLOv5 checkpoint: {expected}" in fault(path)
    torch.save({"a": torch.zeros(2)}, tmp_path / "state.pt")
    assert "its state dict is not that of a YOLOv5 detection model" in fault(tmp_path / "state.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    assert "not a pickled YOLOv5 detection model" in fault(tmp_path / "list.pt")
    assert "not a pickled YOLOv5 detection model" in fault(save(tmp_path / "conv.pt", nn.Conv2d(1, 1, 1)))
    assert "it holds no model" in fault(save(tmp_path / "empty.pt", None))


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files(tmp_path: Path, look_alikes: LookAlikes, legacy: bool) -> None:
    path = save(tmp_path / "x.pt", look_alikes.root(tiny()), legacy=legacy)
    content = path.read_bytes()
    for share in (0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        assert fault(path).startswith("W302"), share


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path, look_alikes: LookAlikes) -> None:
    path = save(tmp_path / "x.pt", look_alikes.root(tiny()))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size if "/data/" in entry.filename else 0)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in fault(path)
