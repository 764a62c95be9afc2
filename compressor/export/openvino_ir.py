"""OpenVINO's IR: a folder with an .xml and a .bin, by OpenVINO's own converter from ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor import __version__
from compressor.artifact.load import missing
from compressor.artifact.save import canonical_json
from compressor.errors import CheckpointError, Diagnostic
from compressor.evaluation.network import Network
from compressor.export.described import checked_size, checked_strides
from compressor.export.extras import needed
from compressor.export.formats import EXPORTED_BY

_METADATA = "compressor"


def write_openvino(onnx_file: Path, folder: Path, network: Network) -> None:
    """Convert an ONNX file; weights keep their number type.

    Args:
        onnx_file: as `write_onnx` wrote it.
        folder: is made; `model.xml` and `model.bin` go into it.
        network: the same, opened.

    Raises:
        InputError: U912 OpenVINO is not installed.
    """
    openvino = needed("openvino", "openvino")
    model = openvino.convert_model(str(onnx_file))
    described = {
        EXPORTED_BY: f"compressor {__version__}",
        "names": list(network.names),
        "strides": list(network.strides),
        "image_size": network.image_size,
    }
    model.set_rt_info(canonical_json(described), [_METADATA])
    folder.mkdir()
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
    openvino = needed("openvino", "openvino")
    try:
        core = openvino.Core()
        model = core.read_model(str(file))
        known: dict[str, Any] = json.loads(model.get_rt_info([_METADATA]).astype(str))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = core.compile_model(model, "CPU", settings)
        names, strides = tuple(map(str, known["names"])), checked_strides(known["strides"])
        size = checked_size(known["image_size"], strides)
    except Exception as fault:  # OpenVINO raises RuntimeError and its kin for whatever is wrong
        message = f"not an OpenVINO model of this tool: {str(fault).splitlines()[0][:200]}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help="export the model again")) from fault

    def predict(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.numpy())[0].copy())

    version = str(openvino.__version__).split("-")[0]
    return Network(names, strides, predict, torch.device("cpu"), torch.float32, f"OpenVINO {version}", size)
