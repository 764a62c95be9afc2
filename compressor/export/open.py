"""Any file that detects becomes a network to judge."""

from __future__ import annotations

from pathlib import Path

import torch

from compressor.artifact.load import load_model
from compressor.evaluation.network import Network, inference_network
from compressor.export.onnx_graph import open_onnx
from compressor.export.openvino_ir import open_openvino
from compressor.export.script import open_torchscript

_ENDINGS = (".onnx", ".xml", ".torchscript")


def is_graph(path: Path) -> bool:
    """Whether the file is a graph for some runtime, and no checkpoint, artifact or state dict."""
    return path.suffix.lower() in _ENDINGS or (path.is_dir() and any(path.glob("*.xml")))


def open_network(path: Path, device: torch.device) -> Network:
    """The network that a file holds, run by the runtime that its ending names; graphs run on the CPU.

    Raises:
        CheckpointError: W3xx the file is missing, damaged or not supported.
        InputError: U912 the runtime is not installed.
    """
    match path.suffix.lower():
        case ".onnx":
            return open_onnx(path)
        case ".torchscript":
            return open_torchscript(path)
        case ".xml":
            return open_openvino(path)
        case _ if path.is_dir():
            return open_openvino(path)
        case _:
            return inference_network(load_model(path).model, device)
