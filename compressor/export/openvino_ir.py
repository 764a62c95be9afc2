"""OpenVINO's IR: a folder with an .xml and a .bin, by OpenVINO's own converter from ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.artifact.load import missing
from compressor.errors import CheckpointError, Diagnostic, first_line
from compressor.evaluation.network import Network
from compressor.export.extras import needed
from compressor.export.graph import METADATA, Graph, Signature
from compressor.export.upstream import graph_of_yaml, yaml_text
from compressor.files.signals import held_back

_DTYPES = {"f32": torch.float32, "f16": torch.float16}


def write_openvino(onnx_file: Path, folder: Path, graph: Graph) -> None:
    """Convert an ONNX file; weights keep their number type.

    Args:
        onnx_file: as `write_onnx` wrote it.
        folder: is made; `model.xml` and `model.bin` go into it, and `model.yaml`, without which YOLOv5 opens none.
        graph: what it is.

    Raises:
        InputError: U912 OpenVINO is not installed.
    """
    openvino = needed("openvino")
    folder.mkdir()
    with held_back():
        model = openvino.convert_model(str(onnx_file))
        model.set_rt_info(graph.to_json(), [METADATA])
        openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
    (folder / "model.yaml").write_text(yaml_text(graph.names, max(graph.strides)), encoding="utf-8")


def open_openvino(place: Path) -> Network:
    """A network that OpenVINO computes on the CPU in float32.

    Args:
        place: the .xml, or the folder with the only one.

    Raises:
        CheckpointError: W301 there is no such file; W302 it is not the OpenVINO graph of a YOLOv5.
        InputError: U912 OpenVINO is not installed.
    """
    graphs = sorted(place.glob("*.xml")) if place.is_dir() else [place]
    if len(graphs) != 1:
        message, help_text = f"the folder holds {len(graphs)} OpenVINO graphs", "name the .xml itself"
        raise CheckpointError(Diagnostic("W301", message, str(place), help=help_text))
    (file,) = graphs
    if not file.is_file():
        raise missing(file)
    openvino = needed("openvino")
    try:
        core = openvino.Core()
        model = core.read_model(str(file))
        graph = _graph(model, file)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:  # OpenVINO raises RuntimeError and its kin for whatever is wrong
        message = f"not the OpenVINO graph of a YOLOv5: {first_line(error)}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help="export the model again")) from error

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.numpy())[0].copy())

    return graph.network(compute, f"OpenVINO {str(openvino.__version__).split('-')[0]}")


def _graph(model: Any, file: Path) -> Graph:
    """What the graph says of itself, or, of an export by YOLOv5 itself, what the YAML beside it says.

    Raises:
        ValueError, KeyError, TypeError, OSError, yaml.YAMLError: it is not that of a YOLOv5.
    """
    if len(model.inputs) != 1:
        raise ValueError(f"it has {len(model.inputs)} inputs")
    given, output = model.inputs[0], model.outputs[0]
    kind = given.get_element_type().get_type_name()
    if kind not in _DTYPES:
        raise ValueError(f"its input is {kind}")
    signature = Signature(_shape(given.get_partial_shape()) or (), _shape(output.get_partial_shape()), _DTYPES[kind])
    if model.has_rt_info([METADATA]):
        graph = Graph.from_json(model.get_rt_info([METADATA]).astype(str))
    else:
        beside = file.with_suffix(".yaml")
        if not beside.is_file():
            raise ValueError(f"{beside.name} is not beside it, in which YOLOv5's export tells names and stride")
        graph = graph_of_yaml(beside, signature.takes)
    return graph.with_signature(signature)


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    """Of a tensor; None where not even the number of dimensions is known."""
    if shape.rank.is_dynamic:
        return None
    return tuple(None if each.is_dynamic else each.get_length() for each in shape)
