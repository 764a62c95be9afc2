"""Files that people really have, beside those of YOLOv5's own training: each is read, and gives the same network."""

from __future__ import annotations

import copy
import datetime
import enum
import fractions
import sys
import types
import uuid
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from compressor.artifact.load import load_model
from compressor.errors import CheckpointError
from compressor.export.state_dict import state_dict_bytes
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import architecture_to_yaml, stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from tests.decoded import predict
from tests.models.yolov5.test_checkpoint import LookAlikes, assert_equal_state, fault, look_alikes, save, tiny
from trials.seeded import fill
from trials.tiny import tiny_model, tiny_weights

__all__ = ["look_alikes"]  # the fixture


def saved(path: Path, content: Any, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old container wants source texts
        torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, look_alikes: LookAlikes, protocol: int, legacy: bool) -> None:
    content = {"model": look_alikes.root(tiny()), "best_fitness": np.array([0.5]), "names": frozenset("ab")}
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": not legacy}
    found = read_checkpoint(saved(tmp_path / "x.pt", content, **options))
    assert found.container == ("legacy" if legacy else "zip")
    assert_equal_state(found.model, tiny().state_dict(), torch.float32)


class Mood(enum.Enum):
    """A class of the author's own."""

    GOOD = 1


@dataclass(frozen=True)
class Settings:
    """Another."""

    place: str


class Grouped(dict[str, int]):
    """A dictionary of its own class, whose items follow as instructions."""


SIDE = {
    "date": datetime.datetime(2024, 1, 2, 3, 4),
    "zone": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    "took": datetime.timedelta(seconds=3),
    "counts": Counter("abc"),
    "groups": defaultdict(list, {"a": [1]}),
    "last": deque([1, 2], maxlen=3),
    "pairs": {(1, 2): "a", ("x", (3,)): "b"},
    "bytes": {b"a": bytearray(b"b")},
    "sets": {frozenset((1, 2)), (3, 4)},
    "own": Settings("here"),
    "mood": Mood.GOOD,
    "grouped": Grouped(a=1),
    "id": uuid.UUID(int=7),
    "part": fractions.Fraction(1, 3),
    "space": types.SimpleNamespace(a=1),
    "version": torch.torch_version.TorchVersion("2.0"),
    "scalar": np.int32(3),
    "complex": 1j,
    "step": slice(1, 2),
    "optimizer": {"defaults": OrderedDict(lr=0.1)},
    "expanded": torch.zeros(1).expand(1000, 1000, 1000),
    "parts": torch.zeros(3, 3).to_sparse(),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_lies_beside_the_network_is_passed_over_and_named(
    tmp_path: Path, look_alikes: LookAlikes, protocol: int
) -> None:
    content = {**SIDE, "model": look_alikes.root(tiny())}
    path = saved(tmp_path / "x.pt", content, pickle_protocol=protocol)
    found = read_checkpoint(path)
    assert_equal_state(found.model, tiny().state_dict(), torch.float32)
    assert found.date is None  # no text
    assert found.passed_over == tuple(f"{__name__}.{name}" for name in ("Settings", "Mood", "Grouped"))
    assert load_model(path).facts["not read"] == ", ".join(found.passed_over)


def test_a_model_saved_alone(tmp_path: Path, look_alikes: LookAlikes) -> None:
    found = read_checkpoint(saved(tmp_path / "x.pt", look_alikes.root(tiny())))
    assert (found.epoch, found.pickled_class, found.passed_over) == (None, "models.yolo.DetectionModel", ())
    assert_equal_state(found.model, tiny().state_dict(), torch.float32)


def test_the_package_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = LookAlikes("yolov5.")
    for name, module in packaged.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    found = read_checkpoint(save(tmp_path / "x.pt", packaged.root(tiny())))
    assert found.pickled_class == "yolov5.models.yolo.DetectionModel"
    assert_equal_state(found.model, tiny().state_dict(), torch.float32)


def test_batchnorm_in_sync_is_batchnorm(tmp_path: Path, look_alikes: LookAlikes) -> None:
    root = nn.SyncBatchNorm.convert_sync_batchnorm(look_alikes.root(tiny()))  # type: ignore[no-untyped-call]
    found = read_checkpoint(save(tmp_path / "x.pt", root))
    assert_equal_state(found.model, tiny().state_dict(), torch.float32)


def test_the_network_that_is_not_taken_decides_nothing(tmp_path: Path, look_alikes: LookAlikes) -> None:
    other = look_alikes.root(tiny())
    other.register_module("extra", nn.GRU(1, 1))
    other.get_submodule("model.1").act = nn.PReLU()
    found = read_checkpoint(save(tmp_path / "x.pt", other, ema=look_alikes.root(tiny())))
    assert found.weights == "ema"
    assert_equal_state(found.model, tiny().state_dict(), torch.float32)


def in_data_parallel(root: nn.Module, _: LookAlikes) -> nn.Module:
    return nn.DataParallel(root)


def in_distributed(root: nn.Module, _: LookAlikes) -> nn.Module:
    wrapper = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = root
    return wrapper


def in_auto_shape(root: nn.Module, made: LookAlikes) -> nn.Module:
    wrapper = made.classes["AutoShape"]()
    wrapper.model = root
    return wrapper


@pytest.mark.parametrize("wrap", [in_data_parallel, in_distributed, in_auto_shape])
def test_wrappers_are_taken_off(
    tmp_path: Path, look_alikes: LookAlikes, wrap: Callable[[nn.Module, LookAlikes], nn.Module]
) -> None:
    wrapped = wrap(look_alikes.root(tiny()), look_alikes)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(nn.parallel.DistributedDataParallel, "__getstate__")  # wants a process group
        path = save(tmp_path / "x.pt", wrapped)
    assert_equal_state(read_checkpoint(path).model, tiny().state_dict(), torch.float32)


def pruned_in_place(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            prune.l1_unstructured(layer, "weight", amount=0.3)  # type: ignore[no-untyped-call]


def expected_of(pruned: Detector) -> dict[str, torch.Tensor]:
    permanent = copy.deepcopy(pruned)
    for layer in permanent.modules():
        if isinstance(layer, nn.Conv2d):
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    return {name: permanent.state_dict()[name] for name in tiny().state_dict()}


@pytest.mark.parametrize("form", ["modules", "state dict"])
def test_pruning_left_in_place_is_folded_in(tmp_path: Path, look_alikes: LookAlikes, form: str) -> None:
    model = tiny().requires_grad_(False)
    pruned_in_place(model)
    root = look_alikes.root(model)
    content = {"model": root if form == "modules" else model.state_dict()}
    found = read_checkpoint(saved(tmp_path / "x.pt", content)).model.state_dict()
    expected = expected_of(model)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    weights = [name for name, value in found.items() if value.ndim == 4]
    zeros = sum(int((found[name] == 0).sum()) for name in weights)
    assert zeros == sum(round(0.3 * found[name].numel()) for name in weights)
    assert not any(bool(torch.signbit(found[name][found[name] == 0]).any()) for name in weights)


def test_a_mask_that_is_none_is_refused(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = tiny()
    pruned_in_place(model)
    model.get_submodule("model.1.conv").get_buffer("weight_mask")[0, 0, 0, 0] = 0.5
    message = fault(save(tmp_path / "x.pt", look_alikes.root(model)))
    assert message == "W304 the mask of model.1.conv.weight, which holds more than 0 and 1, is not supported"


def stated(model: Detector) -> dict[str, Any]:
    return {"state_dict": model.state_dict(), "yaml": architecture_to_yaml(model.spec), "names": list("xyz")}


STATE_DICTS: dict[str, Callable[[Detector], Any]] = {
    "alone": lambda model: model.state_dict(),
    "as model": lambda model: {"model": model.state_dict(), "epoch": 3},
    "as ema": lambda model: {"model": {}, "ema": model.state_dict()},
    "as state_dict": lambda model: {"state_dict": model.state_dict(), "optimizer": {}},
    "of DataParallel": lambda model: {f"module.{name}": value for name, value in model.state_dict().items()},
    "of AutoShape": lambda model: {f"model.model.{name}": value for name, value in model.state_dict().items()},
    "with its table and names": stated,
}


@pytest.mark.parametrize("form", STATE_DICTS)
def test_state_dicts(tmp_path: Path, form: str) -> None:
    model = tiny()
    found = load_model(saved(tmp_path / "x.pt", STATE_DICTS[form](model)))
    assert found.model.names == (("x", "y", "z") if "names" in form else ("0", "1", "2"))
    assert found.model.spec == model.spec
    assert_equal_state(found.model, model.state_dict(), torch.float32)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("fused", [False, True])
def test_what_tensors_alone_do_not_tell_is_said(tmp_path: Path, ending: str, fused: bool) -> None:
    path = tmp_path / f"x.{ending}"
    state = tiny_model(fused=fused).state_dict()
    path.write_bytes(safetensors.torch.save(state)) if ending == "safetensors" else saved(path, state)
    found = load_model(path)
    (told,) = found.warnings
    assert told.startswith(f"x.{ending} holds tensors alone, so these are assumed: SiLU activations, ")
    assert ("BatchNorm with eps 0.001" in told) is not fused
    assert "the whole model, or its `yaml`" in told
    assert found.facts["assumed"] in told


@pytest.mark.parametrize("form", ["network", "with its table and names", "dense", "artifact"])
def test_nothing_is_assumed_where_the_file_tells_all(tmp_path: Path, look_alikes: LookAlikes, form: str) -> None:
    model = tiny()
    match form:
        case "network":
            path = save(tmp_path / "x.pt", look_alikes.root(model))
        case "dense":
            path = tmp_path / "x.safetensors"
            path.write_bytes(state_dict_bytes(model, "float32"))
        case "artifact":
            path = tiny_weights(tmp_path)
        case _:
            path = saved(tmp_path / "x.pt", STATE_DICTS[form](model))
    found = load_model(path)
    assert found.warnings == ()
    assert "assumed" not in found.facts


def negated(values: Tensor) -> Tensor:
    """The same values as a view of their negatives, as torch gives of the imaginary part of a conjugate."""
    view: Tensor = torch._neg_view((-values).contiguous())
    assert view.is_neg()
    return view


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["pickled", "state dict"])
def test_negated_views_have_their_sign(tmp_path: Path, look_alikes: LookAlikes, form: str, dtype: torch.dtype) -> None:
    model = tiny()
    expected = {name: value.to(dtype).float() for name, value in model.state_dict().items()}
    if form == "pickled":
        root = look_alikes.root(model)
        for module in root.modules():
            for name, value in dict(module.named_parameters(recurse=False)).items():
                module._parameters[name] = nn.Parameter(negated(value.detach().to(dtype)), requires_grad=False)
        path = save(tmp_path / "x.pt", root)
    else:
        views = {name: negated(value.to(dtype)) for name, value in model.named_parameters()}
        path = saved(tmp_path / "x.pt", {**model.state_dict(), **views})
    found = read_checkpoint(path).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name, _ in model.named_parameters())


class Rebuilt:
    """A tensor that pickles as a call of torch's function with these arguments after those of its place."""

    def __init__(self, values: Tensor, function: Any, *arguments: Any) -> None:
        self.values, self.function, self.arguments = values, function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        if self.function is torch._utils._rebuild_tensor_v2:
            return self.function, (*self.values.__reduce_ex__(2)[1][:6], *self.arguments)  # type: ignore[no-untyped-call]
        return self.function, (self.values, *self.arguments)


REBUILD, WITH_STATE = torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter_with_state


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (REBUILD, ({"conj": True},), "W304 a tensor that is marked 'conj' is not supported"),
        (REBUILD, ({"neg": True, "zero": True},), "W304 a tensor that is marked 'zero' is not supported"),
        (REBUILD, ({"neg": 1},), "W303 it calls `torch._utils._rebuild_tensor_v2` with unexpected arguments"),
        (WITH_STATE, (False, {}, {"data": 1}), "W304 a tensor whose attribute 'data' was replaced is not supported"),
        (WITH_STATE, (False, {}, ({}, {"add": 1})), "W304 a tensor whose attribute 'add' was replaced"),
        (WITH_STATE, (False, {}, [1]), "W303 it calls `torch._utils._rebuild_parameter_with_state` with"),
        (REBUILD, ({"neg": False, "conj": False},), None),
        (WITH_STATE, (False, {}, {"lr_scale": 2.0}), None),
    ],
)
def test_what_is_said_of_a_tensor_is_read_or_refused(
    tmp_path: Path, function: Any, arguments: tuple[Any, ...], message: str | None
) -> None:
    state: dict[str, Any] = dict(tiny().state_dict())
    name = "model.1.conv.weight"
    path = saved(tmp_path / "x.pt", {**state, name: Rebuilt(state[name], function, *arguments)})
    if message is None:
        assert torch.equal(read_checkpoint(path).model.state_dict()[name], state[name])
    else:
        assert fault(path).startswith(message)


def test_class_names_by_numbers_as_text(tmp_path: Path, look_alikes: LookAlikes) -> None:
    root = look_alikes.root(tiny())
    root.names = {"2": "bar", "0": "disc", "1": "box"}  # type: ignore[assignment]
    assert read_checkpoint(save(tmp_path / "x.pt", root)).model.names == ("disc", "box", "bar")
    root.names = {"0": "disc", "1": "box", "02": "bar"}  # type: ignore[assignment]
    assert "W307 the file's 3 class names are not one text each" in fault(save(tmp_path / "y.pt", root))


@pytest.mark.parametrize(("depth", "width"), [(0.33, 0.25), (1.0, 0.0625), (0.5, 0.1), (2.0, 0.0625)])
def test_state_dicts_of_any_depth_and_width_compute_the_same(tmp_path: Path, depth: float, width: float) -> None:
    table = replace(stock_architecture("v6", "n", nc=2), depth_multiple=depth, width_multiple=width)
    model = fill(build(table)).eval()
    found = load_model(saved(tmp_path / "x.pt", model.state_dict())).model
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(predict(found, images), predict(model, images))


def test_a_state_dict_of_another_network_is_told(tmp_path: Path) -> None:
    assert "its state dict is not that of a YOLOv5" in fault(saved(tmp_path / "a.pt", nn.Linear(2, 2).state_dict()))
    state = {**tiny().state_dict(), "model.30.conv.weight": torch.zeros(1, 1, 1, 1)}
    assert fault(saved(tmp_path / "b.pt", state)).startswith("W309 the tensors fit no stock YOLOv5 size")


def helped(path: Path) -> tuple[str, str]:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.message}", diagnostic.help or ""


def test_a_fork_is_refused_as_one_and_leads_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork = LookAlikes("mine.nets.")
    for name, module in fork.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    message, help_text = helped(save(tmp_path / "x.pt", fork.root(tiny())))
    kind = "mine.nets.models.yolo.DetectionModel"
    assert message == f"W304 a fork of YOLOv5, whose DetectionModel is called {kind}, is not supported"
    assert "torch.save(model.state_dict()" in help_text and "do not open" not in help_text


@pytest.mark.parametrize(("kind", "task"), [("SegmentationModel", "segmentation"), ("ClassificationModel", "classif")])
def test_other_tasks_are_named(tmp_path: Path, look_alikes: LookAlikes, kind: str, task: str) -> None:
    message, help_text = helped(save(tmp_path / "x.pt", look_alikes.root(tiny(), kind)))
    assert message.startswith(f"W304 a {task}") and f"(models.yolo.{kind})" in message
    assert "do not open" not in help_text
