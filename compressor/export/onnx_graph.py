"""ONNX: by torch's own exporter, with upstream's names and metadata, and non-maximum suppression where wanted."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.artifact.load import missing
from compressor.errors import CheckpointError, Diagnostic, first_line
from compressor.evaluation.network import Network, Suppression
from compressor.export.extras import needed
from compressor.export.graph import METADATA, Graph, Signature
from compressor.export.traced import Decoding
from compressor.export.upstream import graph_of_literals
from compressor.files.signals import held_back
from compressor.models.detector import Detector

OPSET = 18
INPUT, OUTPUT, DETECTIONS = "images", "output0", "detections"
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
_MOST_IMAGES = 65_536
_EXAMPLE_IMAGES = 2  # torch.export takes a dimension of 1 for a constant


def write_onnx(
    model: Detector, file: Path, image_size: int, *, dynamic_size: bool = False, suppression: Suppression | None = None
) -> None:
    """Write the network with `images` (B, 3, H, W) as input, B of any size.

    The output is `output0`, decoded boxes in input pixels as `Family.exported` gives them; or, with suppression,
    `detections` (n, 7): image, x1, y1, x2, y2, score, class.

    Args:
        model: float32, on the CPU.
        file: is overwritten.
        image_size: height and width, a multiple of the stride.
        dynamic_size: take any multiple of the stride instead.
        suppression: its thresholds; None for the plain output.

    Raises:
        InputError: U912 the packages that write ONNX are not installed.
    """
    onnx = needed("onnx")
    needed("onnxscript")
    stride = max(model.strides)
    shape: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=_MOST_IMAGES)}
    if dynamic_size:
        shape |= {2: stride * torch.export.Dim("rows", min=1), 3: stride * torch.export.Dim("columns", min=1)}
    side = max(image_size, 2 * stride) if dynamic_size else image_size  # a feature map of 1 x 1 is taken for a constant
    images = torch.zeros(_EXAMPLE_IMAGES, 3, side, side)
    with held_back(), _silent():
        program = torch.onnx.export(
            Decoding(model, scores=suppression is not None),
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: shape},
            verbose=False,
        )
    assert program is not None  # as always with dynamo
    proto = program.model_proto
    if suppression is not None:
        _suppress(onnx, proto.graph, len(model.names), suppression)
    graph = Graph(model.names, model.strides, None if dynamic_size else image_size, suppression)
    metadata = {
        "names": str(dict(enumerate(model.names))),  # this and the next as upstream's scripts read them
        "stride": str(stride),
        METADATA: graph.to_json(),
    }
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto)
    file.write_bytes(proto.SerializeToString(deterministic=True))


def open_onnx(file: Path) -> Network:
    """A network that onnxruntime computes on the CPU.

    Raises:
        CheckpointError: W301 there is no such file; W302 it is not the ONNX file of a YOLOv5.
        InputError: U912 onnxruntime is not installed.
    """
    runtime = needed("onnxruntime")
    if not file.is_file():
        raise missing(file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        # Its fallback would print what the file says, and try the same once more.
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"], enable_fallback=0)
        graph = _graph(session.get_modelmeta().custom_metadata_map, session.get_inputs(), session.get_outputs())
    except Exception as error:  # onnxruntime's exceptions share no class of their own
        help_text = "export the model again"
        message = f"not the ONNX file of a YOLOv5: {first_line(error)}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help=help_text)) from error
    given, wanted = session.get_inputs()[0].name, session.get_outputs()[0].name

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([wanted], {given: images.numpy()})[0])

    return graph.network(compute, f"onnxruntime {runtime.__version__}")


def _graph(metadata: dict[str, str], inputs: Any, outputs: Any) -> Graph:
    """What the file says of itself, or, of an export by YOLOv5 itself, what its names, stride and shapes tell.

    Raises:
        ValueError, SyntaxError, KeyError, TypeError: they are not those of a YOLOv5.
    """
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs")
    given, output = inputs[0], outputs[0]  # older releases give the raw outputs beside the boxes
    if given.type not in _DTYPES:
        raise ValueError(f"its input is {given.type} {given.shape}")
    signature = Signature(_shape(given.shape), _shape(output.shape), _DTYPES[given.type])
    if METADATA in metadata:
        graph = Graph.from_json(metadata[METADATA])
    else:
        graph = graph_of_literals(metadata, signature.takes)
    return graph.with_signature(signature)


def _shape(dimensions: Sequence[int | str | None]) -> tuple[int | None, ...]:
    """Of a tensor; onnxruntime names the dimensions that are open."""
    return tuple(each if isinstance(each, int) else None for each in dimensions)


def _suppress(onnx: Any, graph: Any, nc: int, suppression: Suppression) -> None:
    """Append suppression to a graph whose output `output0` (B, N, 4 + nc) has boxes and scores."""
    helper, numbers, floats = onnx.helper, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    corners = [1, 0, 1, 0, 0, 1, 0, 1, -0.5, 0, 0.5, 0, 0, -0.5, 0, 0.5]  # of centre, width and height
    for name, kind, dims, values in (
        ("nms_0", numbers, [1], [0]),
        ("nms_4", numbers, [1], [4]),
        ("nms_end", numbers, [1], [nc + 4]),
        ("nms_axis", numbers, [1], [2]),
        ("nms_max", numbers, [1], [suppression.max_det]),
        ("nms_iou", floats, [1], [suppression.iou_thres]),
        ("nms_conf", floats, [1], [suppression.conf_thres]),
        ("nms_image", numbers, [1], [0]),
        ("nms_class", numbers, [1], [1]),
        ("nms_place", numbers, [2], [0, 2]),
        ("nms_corners", floats, [4, 4], corners),
        ("nms_column", numbers, [1], [1]),
    ):
        graph.initializer.append(helper.make_tensor(name, kind, dims, values))
    node = helper.make_node
    columns = ["nms_image_float", "nms_xyxy", "nms_score_column", "nms_class_float"]
    graph.node.extend(
        [
            node("Slice", [OUTPUT, "nms_0", "nms_4", "nms_axis"], ["nms_boxes"]),
            node("Slice", [OUTPUT, "nms_4", "nms_end", "nms_axis"], ["nms_by_row"]),
            node("Transpose", ["nms_by_row"], ["nms_scores"], perm=[0, 2, 1]),
            node(
                "NonMaxSuppression",
                ["nms_boxes", "nms_scores", "nms_max", "nms_iou", "nms_conf"],
                ["nms_kept"],  # (n, 3): image, class, row
                center_point_box=1,
            ),
            node("Gather", ["nms_kept", "nms_place"], ["nms_places"], axis=1),
            node("GatherND", ["nms_boxes", "nms_places"], ["nms_centred"]),
            node("MatMul", ["nms_centred", "nms_corners"], ["nms_xyxy"]),
            node("GatherND", ["nms_scores", "nms_kept"], ["nms_score"]),
            node("Unsqueeze", ["nms_score", "nms_column"], ["nms_score_column"]),
            node("Gather", ["nms_kept", "nms_image"], ["nms_image_column"], axis=1),
            node("Gather", ["nms_kept", "nms_class"], ["nms_class_column"], axis=1),
            node("Cast", ["nms_image_column"], ["nms_image_float"], to=floats),
            node("Cast", ["nms_class_column"], ["nms_class_float"], to=floats),
            node("Concat", columns, [DETECTIONS], axis=1),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(DETECTIONS, floats, ["detections", 7]))


@contextmanager
def _silent() -> Iterator[None]:
    """Torch's exporter tells of what it does not need, such as torchvision."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
