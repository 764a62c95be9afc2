"""Graphs as YOLOv5's own exporter writes them, made here from ours: other metadata, and one image at a time."""

from __future__ import annotations

import shutil
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import yaml
from torch import Tensor, nn

from compressor.data.dataset import load_dataset, read_split
from compressor.errors import CheckpointError, InputError, RunError
from compressor.evaluation.evaluate import make_evaluator
from compressor.evaluation.network import Network, inference_network
from compressor.export.extras import needed
from compressor.export.graph import Graph, Signature
from compressor.export.onnx_graph import open_onnx
from compressor.export.open import open_network
from compressor.export.openvino_ir import write_openvino
from compressor.export.script import open_torchscript
from compressor.export.traced import Decoding
from compressor.export.upstream import graph_of_json, graph_of_literals, graph_of_yaml
from compressor.models.detector import Detector
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation
from compressor.results.evaluation import Evaluation as Evaluated
from compressor.tasks.benchmark import Question, benchmark
from tests.decoded import detections, predict
from trials.tiny import NAMES, tiny_data

CPU = torch.device("cpu")
SIZE = 64
MAPPING = "{0: 'disc', 1: 'box', 2: 'bar'}"


@pytest.fixture(scope="module")
def folder(free: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `static.onnx`, which takes one image, and `dynamic.onnx`, whose last dimension is open too."""
    folder = tmp_path_factory.mktemp("upstream")
    for name in ("static", "dynamic"):
        proto = onnx.load(free)
        _describe(proto)
        (given,), (output,) = proto.graph.input, proto.graph.output
        _set_shape(output, ["batch", "anchors", "Concatoutput0_dim_2"] if name == "dynamic" else [1, 252, 8])
        _set_shape(given, ["batch", 3, "height", "width"] if name == "dynamic" else [1, 3, SIZE, SIZE])
        onnx.save(proto, folder / f"{name}.onnx")
    return folder


def _describe(proto: onnx.ModelProto, **metadata: str) -> None:
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, {"stride": "32", "names": MAPPING, **metadata})


def _set_shape(value: onnx.ValueInfoProto, shape: list[int | str]) -> None:
    kind = value.type.tensor_type.elem_type
    value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, shape))


class UpstreamsForward(nn.Module):
    """Boxes first, other outputs beside them."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.decoding = Decoding(model)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        return self.decoding(images), (images,)


def openvino_folder(folder: Path, place: Path) -> Path:
    """As upstream names it, with a YAML beside the .xml."""
    openvino = needed("openvino")
    place.mkdir()
    openvino.save_model(openvino.convert_model(folder / "static.onnx"), place / "best.xml", compress_to_fp16=False)
    (place / "best.yaml").write_text("stride: 32\nnames:\n  0: disc\n  1: box\n  2: bar\n")
    return place


def torchscript(model: Detector, file: Path, config: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of what shall come after TorchScript
        traced = torch.jit.trace(UpstreamsForward(model), torch.zeros(1, 3, SIZE, SIZE))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, file, _extra_files={"config.txt": config})
    return file


@pytest.fixture(scope="module")
def static_graphs(folder: Path, model: Detector) -> dict[str, Network]:
    config = '{"shape": [1, 3, 64, 64], "stride": 32, "names": {"0": "disc", "1": "box", "2": "bar"}}'
    return {
        "onnx": open_onnx(folder / "static.onnx"),
        "openvino": open_network(openvino_folder(folder, folder / "best_openvino_model"), CPU),
        "torchscript": open_network(torchscript(model, folder / "best.torchscript", config), CPU),
    }


def evaluated(network: Detector | Network, data: Path, batch_size: int) -> Evaluated:
    split = read_split(load_dataset(str(data)), "val")
    evaluator = make_evaluator(split, Evaluation(image_size=SIZE, batch_size=batch_size), CPU)
    return evaluator.evaluate(network, Silent(), "")[0]


def test_a_graph_of_any_size_is_evaluated_like_the_model(free: Path, model: Detector, tmp_path: Path) -> None:
    evaluator = make_evaluator(
        read_split(load_dataset(str(tiny_data(tmp_path))), "val"), Evaluation(image_size=96, batch_size=2), CPU
    )
    ours, _ = evaluator.evaluate(model, Silent(), "")
    theirs, _ = evaluator.evaluate(open_onnx(free), Silent(), "")
    assert theirs.settings.runs_on.startswith("onnxruntime")
    assert pytest.approx(ours.metrics.coco.AP, abs=5e-4) == theirs.metrics.coco.AP


@pytest.mark.parametrize("form", ["onnx", "openvino", "torchscript"])
def test_a_graph_of_one_image_is_evaluated_one_image_at_a_time(
    form: str, static_graphs: dict[str, Network], model: Detector, tmp_path: Path
) -> None:
    network = static_graphs[form]
    assert (network.names, network.strides, network.image_size, network.batch_size) == (NAMES, (32,), SIZE, 1)
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.predict(image), detections(model, image), rtol=1e-4, atol=1e-3)
    found = evaluated(network, tiny_data(tmp_path), 4)
    assert (found.settings.shapes, found.settings.batch_size) == ("squares", 1)
    ours = evaluated(Network(NAMES, (32,), partial(detections, model), CPU, image_size=SIZE), tmp_path / "tiny.yaml", 4)
    assert pytest.approx(ours.metrics.coco.AP, abs=5e-4) == found.metrics.coco.AP
    assert found.settings.protocol == ours.settings.protocol


def test_a_graph_of_one_image_is_measured_at_that_batch_size_only(folder: Path) -> None:
    file = str(folder / "static.onnx")
    with pytest.raises(InputError, match=r"U909 the file takes 1 at a time only, not 4\n.*--batch-size 1"):
        benchmark(Question((file,), image_size=SIZE, batch_sizes=(1, 4)), Silent())
    (measured,) = benchmark(Question((file,), image_size=SIZE, runs=1, warm_up=0), Silent()).measured
    assert (measured.batch_size, len(measured.times_ms)) == (1, 1)


def test_a_graph_of_any_shape_is_evaluated_as_the_model_is(folder: Path, model: Detector, tmp_path: Path) -> None:
    network = open_onnx(folder / "dynamic.onnx")
    assert (network.names, network.image_size, network.batch_size) == (NAMES, None, None)
    found = evaluated(network, tiny_data(tmp_path), 4)
    ours = evaluated(model, tmp_path / "tiny.yaml", 4)
    assert pytest.approx(ours.metrics.coco.AP, abs=5e-4) == found.metrics.coco.AP
    assert found.settings.protocol == ours.settings.protocol


def test_other_numbers_of_images_are_filled_up(model: Detector) -> None:
    given = []

    def compute(images: Tensor) -> Tensor:
        given.append(images)
        return predict(model, images)

    graph = Graph(NAMES, (32,), SIZE).with_signature(Signature((4, 3, SIZE, SIZE), (4, 252, 8), torch.float32))
    images = torch.rand(3, 3, SIZE, SIZE)
    output = graph.network(compute, "a runtime").predict(images)
    assert [each.shape[0] for each in given] == [4]
    torch.testing.assert_close(output, detections(model, images), rtol=1e-5, atol=1e-4)


def test_a_graph_that_takes_float16_is_given_it(folder: Path, model: Detector, tmp_path: Path) -> None:
    proto = onnx.load(folder / "static.onnx")
    (given,), (output,) = proto.graph.input, proto.graph.output
    for value, name in ((given, "images16"), (output, "output16")):
        value.name, value.type.tensor_type.elem_type = name, onnx.TensorProto.FLOAT16
    proto.graph.node.insert(0, onnx.helper.make_node("Cast", ["images16"], ["images"], to=onnx.TensorProto.FLOAT))
    proto.graph.node.append(onnx.helper.make_node("Cast", ["output0"], ["output16"], to=onnx.TensorProto.FLOAT16))
    onnx.save(proto, tmp_path / "half.onnx")
    network = open_onnx(tmp_path / "half.onnx")
    assert network.dtype == torch.float16
    image = torch.rand(1, 3, SIZE, SIZE).half()
    found = network.predict(image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, detections(model, image.float()), rtol=2e-3, atol=2e-3)
    assert evaluated(network, tiny_data(tmp_path), 1).settings.precision == "float16"


def test_the_number_of_classes_is_checked_at_the_latest_by_what_a_graph_gives(
    folder: Path, model: Detector, tmp_path: Path
) -> None:
    proto = onnx.load(folder / "dynamic.onnx")
    _describe(proto, names="['disc', 'box']")
    onnx.save(proto, tmp_path / "two.onnx")
    with pytest.raises(CheckpointError, match=r"W302 .*its output is \[any, any, 8\] for 2 classes"):
        open_onnx(tmp_path / "two.onnx")  # onnxruntime has worked it out
    signature = Signature((None, 3, None, None), (None, None, None), torch.float32)
    network = Graph(NAMES[:2], (32,), None).with_signature(signature).network(partial(predict, model), "a runtime")
    with pytest.raises(RunError, match=r"E811 the graph gives .*\[1, 252, 8\] for 1 images and 2 classes"):
        network.predict(torch.zeros(1, 3, SIZE, SIZE))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"names": MAPPING}, "no names and stride"),
        ({"stride": "32"}, "no names and stride"),
        ({"names": MAPPING, "stride": "'32'"}, "its stride is 32"),
        ({"names": MAPPING, "stride": "3"}, "strides are"),
        ({"names": "{0: 'disc', 2: 'bar'}", "stride": "32"}, "names are not"),
        ({"names": "{0: ['disc']}", "stride": "32"}, "names are not"),
        ({"names": "'disc'", "stride": "32"}, "neither a list of class names"),
        ({"names": "[]", "stride": "32"}, "neither a list of class names"),
        ({"names": "dict(a=1)", "stride": "32"}, "malformed"),
        ({"names": "__import__('os').system('touch executed')", "stride": "32"}, "malformed"),
        ({"names": "'" + "a" * 200_000 + "'", "stride": "32"}, "at most 200,000"),
    ],
)
def test_metadata_are_read_as_literals_only(
    metadata: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        graph_of_literals(metadata, (1, 3, SIZE, SIZE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", [MAPPING, "['disc', 'box', 'bar']", "('disc', 'box', 'bar')"])
def test_names_may_be_a_list_or_a_mapping(names: str) -> None:
    assert graph_of_literals({"names": names, "stride": "32"}, (1, 3, SIZE, SIZE)).names == NAMES


@pytest.mark.parametrize("text", ["", "[1]", "stride: 32", "names: [a]\nstride: !!python/object/apply:os.getcwd []"])
def test_a_yaml_that_tells_no_names_and_stride_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text(text)
    with pytest.raises((ValueError, yaml.YAMLError)):
        graph_of_yaml(tmp_path / "best.yaml", (1, 3, SIZE, SIZE))


@pytest.mark.parametrize("text", ["[]", '{"stride": 32, "names": ["a"]}', '{"shape": [1, 3, 64], "stride": 32}', "{"])
def test_a_config_without_a_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"shape|Expecting"):
        graph_of_json(text)


@pytest.mark.parametrize(
    ("takes", "gives", "dtype", "words"),
    [
        ((1, 3, 64, 96), (1, 252, 8), torch.float32, "only squares, or any size"),
        ((1, 1, 64, 64), (1, 252, 8), torch.float32, "its input is"),
        ((1, 3, 64, 64), (1, 252, 9), torch.float32, "its output is"),
        ((1, 3, 96, 96), (1, 252, 8), torch.float32, "for images of 64 px"),
        ((1, 3, 64, 64), (1, 252, 8), torch.int8, "its input is"),
        ((2000, 3, 64, 64), (None, 252, 8), torch.float32, "batches of 2000 only"),
    ],
)
def test_graphs_of_other_shapes_are_refused(takes: Any, gives: Any, dtype: torch.dtype, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Graph(NAMES, (32,), SIZE).with_signature(Signature(takes, gives, dtype))


def test_what_lacks_its_metadata_says_which(static_graphs: dict[str, Network], folder: Path, tmp_path: Path) -> None:
    assert static_graphs  # so that the files are there
    place = shutil.copytree(folder / "best_openvino_model", tmp_path / "best_openvino_model")
    (place / "best.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"W302 .*best.yaml is not beside it"):
        open_network(place, CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.load(folder / "best.torchscript"), tmp_path / "best.torchscript")  # type: ignore[no-untyped-call]
    with pytest.raises(CheckpointError, match=r"W302 .*no config.txt"):
        open_torchscript(tmp_path / "best.torchscript")


def test_our_openvino_folder_holds_what_yolov5_looks_for(free: Path, tmp_path: Path) -> None:
    write_openvino(free, tmp_path / "model_openvino_model", Graph(NAMES, (8, 16, 32), None))
    (xml,) = (tmp_path / "model_openvino_model").glob("*.xml")
    told = yaml.safe_load(xml.with_suffix(".yaml").read_text())
    assert told == {"stride": 32, "names": dict(enumerate(NAMES))}
    assert open_network(tmp_path / "model_openvino_model", CPU).strides == (8, 16, 32)


def test_the_models_own_network_is_no_graph_of_one_batch(model: Detector) -> None:
    assert inference_network(model, CPU).batch_size is None
