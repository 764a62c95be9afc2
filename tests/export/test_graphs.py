"""Graphs for other runtimes, each against the model it was made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compressor.data.dataset import load_dataset, read_split
from compressor.errors import ArtifactError, CheckpointError, InputError, RunError
from compressor.evaluation.evaluate import make_evaluator
from compressor.evaluation.network import Network, Suppression, inference_network
from compressor.evaluation.nms import non_max_suppression
from compressor.export.check import compare
from compressor.export.graph import Graph
from compressor.export.onnx_graph import OPSET, open_onnx
from compressor.export.open import open_network
from compressor.export.write import Options, write
from compressor.models.detector import Detector
from compressor.models.yolov5.detect import scored
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation
from compressor.results.run import Agreement
from tests.export.conftest import SIZE, loaded
from trials.tiny import NAMES, tiny_data, tiny_model

CPU = torch.device("cpu")


def test_onnx_takes_any_batch_and_carries_upstreams_metadata(fixed: Path, model: Detector) -> None:
    network = open_onnx(fixed)
    assert (network.names, network.strides, network.image_size) == (NAMES, (8, 16, 32), SIZE)
    images = torch.rand(5, 3, SIZE, SIZE)
    assert torch.allclose(network.predict(images), inference_network(model, CPU).predict(images), rtol=1e-4, atol=1e-4)
    proto = onnx.load(fixed)
    metadata = {each.key: each.value for each in proto.metadata_props}
    assert metadata["names"] == str(dict(enumerate(NAMES)))
    assert metadata["stride"] == "32"
    assert [each.version for each in proto.opset_import if not each.domain] == [OPSET]


def test_an_export_of_upstream_itself_is_known_by_its_names_and_stride(fixed: Path, tmp_path: Path) -> None:
    proto = onnx.load(fixed)
    kept = [each for each in proto.metadata_props if each.key in ("names", "stride")]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    onnx.save(proto, tmp_path / "upstream.onnx")
    network = open_onnx(tmp_path / "upstream.onnx")
    assert (network.names, network.strides, network.image_size) == (NAMES, (32,), SIZE)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (torch.zeros(1, 5, 9), "of shape"),
        (torch.zeros(2, 5, 8, dtype=torch.int64), "int64"),
        (torch.full((2, 5, 8), torch.nan), "not finite"),
    ],
)
def test_outputs_that_are_no_detections_are_refused(output: torch.Tensor, words: str) -> None:
    network = Graph(NAMES, (8, 16, 32), None).network(lambda _: output, "a runtime")
    with pytest.raises(RunError, match=f"E811 .*{words}"):
        network.predict(torch.zeros(2, 3, SIZE, SIZE))


def test_finite_numbers_are_taken_even_where_their_sum_is_not() -> None:
    output = torch.full((2, 5, 8), torch.finfo(torch.float32).max)
    network = Graph(NAMES, (8, 16, 32), None).network(lambda _: output, "a runtime")
    assert torch.equal(network.predict(torch.zeros(2, 3, SIZE, SIZE)), scored(output))


@pytest.mark.parametrize("row", [[2.0, 0, 0, 1, 1, 0.5, 0], [0, 0, 0, 1, 1, 0.5, 3], [0, 0, 0, 1, 1, 0.5, -1]])
def test_detections_of_no_image_or_class_are_refused(row: list[float]) -> None:
    graph = Graph(NAMES, (8, 16, 32), None, Suppression(0.1, 0.5, 300))
    with pytest.raises(RunError, match="E811"):
        graph.network(lambda _: torch.tensor([row]), "a runtime").predict(torch.zeros(2, 3, SIZE, SIZE))


@pytest.mark.parametrize(
    ("strides", "size"), [((), 64), ((0,), 64), ((7,), 63), ((32,), 40), ((32,), -32), ((32,), True)]
)
def test_absurd_strides_and_sizes_are_refused(strides: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="its "):
        Graph(NAMES, strides, size)


def test_a_graph_of_one_size_refuses_others(fixed: Path, tmp_path: Path) -> None:
    evaluator = make_evaluator(
        read_split(load_dataset(str(tiny_data(tmp_path))), "val"), Evaluation(image_size=96), CPU
    )
    with pytest.raises(InputError, match=r"U909 .*64 px only, not of 96"):
        evaluator.evaluate(open_onnx(fixed), Silent(), "")


def test_suppression_in_the_graph_finds_what_an_evaluation_finds(model: Detector, tmp_path: Path) -> None:
    pictures = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    place = tmp_path / "model.onnx"
    suppression = Suppression(conf_thres=0.05, iou_thres=0.45, max_det=300)
    write(loaded(model), "onnx", Options(SIZE, suppression=suppression), pictures, place)
    network = open_onnx(place)
    assert network.suppression == suppression
    rows = network.predict(pictures)
    decoded = inference_network(model, CPU).predict(pictures)
    wanted = non_max_suppression(decoded, conf_thres=0.05, iou_thres=0.45, max_det=10_000)
    for image, detections in enumerate(wanted):
        mine = rows[rows[:, 0] == image, 1:]
        assert len(mine) == len(detections) > 0
        assert torch.allclose(mine[:, 4].sort().values, detections[:, 4].sort().values, atol=1e-5)


@pytest.mark.parametrize(("form", "name"), [("openvino", "model_openvino"), ("torchscript", "model.torchscript")])
def test_other_runtimes_give_what_the_model_gives(
    form: str, name: str, model: Detector, images: torch.Tensor, tmp_path: Path
) -> None:
    place = tmp_path / name
    agreement = write(loaded(model), form, Options(SIZE), images, place)  # type: ignore[arg-type]  # a known format
    assert agreement is not None
    assert agreement.images == 3
    assert agreement.pixels < 1e-2
    network = open_network(place, CPU)
    assert (network.names, network.strides, network.image_size) == (NAMES, (8, 16, 32), SIZE)
    wanted = inference_network(model, CPU).predict(images)
    assert torch.allclose(network.predict(images), wanted, rtol=1e-4, atol=1e-3)


def test_another_network_is_told(model: Detector, images: torch.Tensor) -> None:
    ours = inference_network(model, CPU)
    other = Network(NAMES, (8, 16, 32), inference_network(tiny_model(1), CPU).predict, CPU)
    with pytest.raises(ArtifactError, match="A503"):
        compare(ours, other, images, None, "other.onnx")
    broken = Network(NAMES, (8, 16, 32), lambda given: ours.predict(given) * torch.nan, CPU)
    with pytest.raises(ArtifactError, match="A503"):
        compare(ours, broken, images, None, "broken.onnx")


def test_suppression_that_loses_or_makes_up_a_detection_is_told(model: Detector, images: torch.Tensor) -> None:
    ours = inference_network(model, CPU)
    suppression = Suppression(0.01, 0.45, 5)

    def suppressed(given: torch.Tensor) -> torch.Tensor:
        (found,) = non_max_suppression(ours.predict(given), conf_thres=0.01, iou_thres=0.45, max_det=10_000)
        best = [found[found[:, 5] == number][:5] for number in range(len(NAMES))]
        return torch.nn.functional.pad(torch.cat(best), (1, 0))

    def compared(change: Callable[[torch.Tensor], torch.Tensor]) -> Agreement | None:
        graph = Network(NAMES, (8, 16, 32), lambda given: change(suppressed(given)), CPU, suppression=suppression)
        return compare(ours, graph, images, suppression, "graph.onnx")

    assert compared(lambda rows: rows) == Agreement(3, 0.0, 0.0)
    for change in (lambda rows: rows[1:], lambda rows: torch.cat((rows, rows[:1] + 2)), lambda rows: rows[:0]):
        with pytest.raises(ArtifactError, match="A503"):
            compared(change)


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.torchscript"])
def test_what_is_no_graph_is_refused(name: str, tmp_path: Path) -> None:
    place = tmp_path / name
    with pytest.raises(CheckpointError, match="W301"):
        open_network(place, CPU)
    for content in (b"", b"\x08\x01 not a graph", np.random.RandomState(0).bytes(2000)):
        place.write_bytes(content)
        with pytest.raises(CheckpointError, match="W302"):
            open_network(place, CPU)
