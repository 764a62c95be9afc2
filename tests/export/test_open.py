"""Graphs of strangers: what a runtime raises, at any time, becomes an error of ours that names the file."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import compressor.export.open
from compressor.errors import CheckpointError
from compressor.evaluation.network import Network
from compressor.export.graph import METADATA, Graph
from compressor.export.open import open_network
from compressor.export.openvino_ir import write_openvino

CPU = torch.device("cpu")
GRAPH = Graph(("a",), (8,), 64)


def uneven_onnx(file: Path) -> Path:
    """A graph that says of itself what it should, and whose sizes do not go together."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [3], [5, 7, 6])  # and an image has 12,288 numbers
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Reshape", ["images", "shape"], ["output0"])],
            "x",
            [helper.make_tensor_value_info("images", floats, ["batch", 3, 64, 64])],
            [helper.make_tensor_value_info("output0", floats, [5, 7, 6])],
            [shape],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    helper.set_model_props(proto, {METADATA: GRAPH.to_json()})
    file.write_bytes(proto.SerializeToString())
    return file


def raising_script(file: Path) -> Path:
    """A program that ends in an exception."""

    class Raising(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.view(7, 7)

    torch.jit.save(torch.jit.script(Raising()), str(file), _extra_files={METADATA: GRAPH.to_json()})
    return file


def uneven_openvino(folder: Path) -> Path:
    """The first, converted."""
    pytest.importorskip("openvino")
    write_openvino(uneven_onnx(folder.with_suffix(".onnx")), folder, GRAPH)
    return folder / "model.xml"


MADE = {"onnx": uneven_onnx, "torchscript": raising_script, "xml": uneven_openvino}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("ending", ["onnx", "torchscript", "xml"])
def test_a_graph_that_its_runtime_cannot_compute(ending: str, tmp_path: Path) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxruntime")
    place = tmp_path / ("x" if ending == "xml" else f"x.{ending}")
    file = MADE[ending](place)
    network = open_network(file, CPU)
    side = 32 if ending == "xml" else 64  # OpenVINO computes the graph all the same, but takes no other images
    with pytest.raises(CheckpointError) as caught:
        network.predict(torch.zeros(1, 3, side, side))
    (told,) = caught.value.diagnostics
    assert (told.code, told.path) == ("W333", str(file))
    assert told.message.startswith(f"{network.runs_on} cannot compute the graph: ")
    assert len(told.message) < 300 and "\n" not in told.message


def opened_by(monkeypatch: pytest.MonkeyPatch, fault: Exception, *, computing: bool) -> Any:
    """Let onnxruntime raise an exception, when it opens a file or when it computes."""

    def predict(_images: torch.Tensor) -> torch.Tensor:
        raise fault

    def opened(_file: Path) -> Network:
        if not computing:
            raise fault
        return replace(GRAPH.network(predict, "onnxruntime 0"), predict=predict)

    monkeypatch.setattr(compressor.export.open, "open_onnx", opened)


@pytest.mark.parametrize(
    "fault", [RuntimeError(), KeyError(), AttributeError("x"), OSError(errno.EIO, "y"), AssertionError()]
)
def test_an_exception_without_text_is_told_by_its_name(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened_by(monkeypatch, fault, computing=True)
    with pytest.raises(
        CheckpointError, match=f"W333 onnxruntime 0 cannot compute the graph: ({type(fault).__name__}|.+)"
    ):
        open_network(tmp_path / "x.onnx", CPU).predict(torch.zeros(1, 3, 64, 64))
    opened_by(monkeypatch, fault, computing=False)
    with pytest.raises(CheckpointError, match=f"W302 the graph cannot be opened: ({type(fault).__name__}|.+)"):
        open_network(tmp_path / "x.onnx", CPU)


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")])
def test_too_little_memory_stays_what_it_is(fault: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that a batch is halved, or the command says so."""
    opened_by(monkeypatch, fault, computing=True)
    with pytest.raises(type(fault)):
        open_network(tmp_path / "x.onnx", CPU).predict(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("name", ["x.onnx", "x.torchscript", "x.xml", "x.bin"])
def test_a_file_of_100_gb_is_given_to_no_runtime(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<net/>")
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(100 * 10**9)
    place = tmp_path if name == "x.bin" else tmp_path / name
    with pytest.raises(
        CheckpointError, match=rf"{name}: W302 it holds 100,000,000,000 bytes, and at most [\d,]+ are read"
    ):
        open_network(place, CPU)


def test_what_a_graph_says_is_printed_by_no_runtime(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    file = uneven_onnx(tmp_path / "x.onnx")
    file.write_bytes(file.read_bytes().replace(b"Reshape", b"Res\x1b[\xeee"))
    with pytest.raises(CheckpointError, match="W302"):
        open_network(file, CPU)
    assert capfd.readouterr() == ("", "")


def test_nonsense_beside_a_graph_is_refused(tmp_path: Path) -> None:
    """Whatever stands where a graph says what it is."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    file = uneven_onnx(tmp_path / "x.onnx")
    good = json.loads(GRAPH.to_json())
    values: tuple[Any, ...] = (None, [{}], "x", -1, 1e999)
    changed = [json.dumps({**good, key: value}) for key in good for value in values]
    for text in ("", "[]", "7", "{}", "[" * 100_000, *changed):
        proto = onnx.load(str(file))
        onnx.helper.set_model_props(proto, {METADATA: text})
        file.write_bytes(proto.SerializeToString())
        try:
            open_network(file, CPU)
        except CheckpointError as fault:
            assert fault.diagnostics[0].code == "W302"
