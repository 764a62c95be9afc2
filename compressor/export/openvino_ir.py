"""OpenVINO's IR: a folder with an .xml and a .bin, by OpenVINO's own converter from ONNX."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from compressor.artifact.load import missing
from compressor.errors import CheckpointError, Diagnostic
from compressor.evaluation.network import Network
from compressor.export.extras import needed
from compressor.export.graph import METADATA, Graph
from compressor.held import held_back


def write_openvino(onnx_file: Path, folder: Path, graph: Graph) -> None:
    """Convert an ONNX file; weights keep their number type.

    Args:
        onnx_file: as `write_onnx` wrote it.
        folder: is made; `model.xml` and `model.bin` go into it.
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


def open_openvino(place: Path) -> Network:
    """A network that OpenVINO computes on the CPU in float32.

    Args:
        place: the .xml, or the folder with the only one.

    Raises:
        CheckpointError: W301 there is no such file; W302 it is not an IR that `write_openvino` wrote.
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
        graph = Graph.from_json(model.get_rt_info([METADATA]).astype(str))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as fault:  # OpenVINO raises RuntimeError and its kin for whatever is wrong
        message = f"not an OpenVINO model of this tool: {str(fault).splitlines()[0][:200]}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help="export the model again")) from fault

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.numpy())[0].copy())

    return graph.network(compute, f"OpenVINO {str(openvino.__version__).split('-')[0]}")
