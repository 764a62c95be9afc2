"""Any file that detects becomes a network to evaluate."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from compressor.artifact.load import load_model
from compressor.errors import CheckpointError, CompressorError, Diagnostic, first_line, ran_out_of_memory
from compressor.evaluation.network import Network, inference_network
from compressor.export.onnx_graph import open_onnx
from compressor.export.openvino_ir import open_openvino
from compressor.export.script import open_torchscript
from compressor.files.reading import MODEL_BYTES, regular_size
from compressor.recipe.schema import Precision

_ENDINGS = (".onnx", ".xml", ".torchscript")
_MOST_BYTES = {".onnx": 2**31, ".xml": 2**28}  # protobuf reads no more; an .xml holds no weights
_AGAIN = "export the model again"


def is_graph(path: Path) -> bool:
    """Whether the file is a graph for some runtime, and no checkpoint, artifact or state dict."""
    return path.suffix.lower() in _ENDINGS or (path.is_dir() and any(path.glob("*.xml")))


def open_network(path: Path, device: torch.device, precision: Precision = "auto") -> Network:
    """The network that a file holds, run by the runtime that its ending names.

    Args:
        path: the file, or of OpenVINO the folder.
        device: where torch runs it; graphs run on the CPU.
        precision: in which number type torch runs it; graphs have their own.

    Whatever a runtime raises while it computes becomes an error of ours: its `predict` raises CheckpointError W333.

    Raises:
        CheckpointError: W3xx the file is missing, damaged, too large or not supported.
        InputError: U912 the runtime is not installed.
    """
    if not is_graph(path):
        return inference_network(load_model(path).model, device, precision)
    _check_size(path)
    try:
        network = _open_graph(path)
    except CompressorError:
        raise
    except Exception as error:  # of a stranger's file any; runtimes' exceptions share no class
        if ran_out_of_memory(error):
            raise
        message = f"the graph cannot be opened: {first_line(error)}"
        raise CheckpointError(Diagnostic("W302", message, str(path), help=_AGAIN)) from error
    return replace(network, predict=partial(_computed, network, str(path)))


def _computed(network: Network, file: str, images: Tensor) -> Tensor:
    """What the runtime gives.

    Raises:
        CheckpointError: W333 it cannot compute the graph.
        MemoryError, RuntimeError: there is too little memory.
    """
    try:
        return network.predict(images)
    except CompressorError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        message = f"{network.runs_on} cannot compute the graph: {first_line(error)}"
        raise CheckpointError(Diagnostic("W333", message, file, help=_AGAIN)) from error


def _check_size(path: Path) -> None:
    """Refuse files that no runtime should be given to read.

    Raises:
        CheckpointError: W302 a file is larger than any of its kind.
    """
    graph = next(iter(sorted(path.glob("*.xml"))), path) if path.is_dir() else path
    for file in {graph, graph.with_suffix(".bin") if graph.suffix.lower() == ".xml" else graph}:
        if file.is_file():
            try:
                regular_size(file, _MOST_BYTES.get(file.suffix.lower(), MODEL_BYTES))
            except OSError as error:
                message = error.strerror or str(error)
                raise CheckpointError(Diagnostic("W302", message, str(file), help=_AGAIN)) from error


def _open_graph(path: Path) -> Network:
    match path.suffix.lower():
        case ".onnx":
            return open_onnx(path)
        case ".torchscript":
            return open_torchscript(path)
        case _:  # an .xml, or a folder with one
            return open_openvino(path)
