"""TorchScript: the traced network in one file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from compressor.artifact.load import missing
from compressor.artifact.save import canonical_json
from compressor.errors import CheckpointError, Diagnostic
from compressor.evaluation.network import Network
from compressor.export.graph import METADATA, Graph
from compressor.export.traced import Decoding
from compressor.held import held_back
from compressor.yolov5.build import YOLOv5

_UPSTREAMS = "config.txt"  # where upstream's scripts look for the next three


def write_torchscript(model: YOLOv5, file: Path, image_size: int) -> None:
    """Write the network for squares of one size; (B, 3, S, S) to (B, rows, nc + 5), decoded.

    Args:
        model: float32, on the CPU.
        file: is overwritten.
        image_size: S, a multiple of the stride.
    """
    described = {
        "shape": [1, 3, image_size, image_size],
        "stride": max(model.strides),
        "names": dict(enumerate(model.names)),
    }
    extra = {_UPSTREAMS: canonical_json(described), METADATA: Graph(model.names, model.strides, image_size).to_json()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer tells that shapes become constants, which is meant
        with held_back():
            traced = torch.jit.trace(Decoding(model), torch.zeros(1, 3, image_size, image_size))  # type: ignore[no-untyped-call]
        whole = io.BytesIO()  # torch's own writer ends the process where the disk is full
        torch.jit.save(traced, whole, _extra_files=extra)
    file.write_bytes(whole.getvalue())


def open_torchscript(file: Path) -> Network:
    """A network that torch's interpreter computes, on the CPU, where it was traced.

    TorchScript is a program: open only files that are trusted.

    Raises:
        CheckpointError: W301 there is no such file; W302 it is none that `write_torchscript` wrote.
    """
    if not file.is_file():
        raise missing(file)
    extra: dict[str, Any] = {METADATA: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        graph = Graph.from_json(extra[METADATA])
    except (RuntimeError, ValueError, KeyError, TypeError) as fault:
        message = f"not a TorchScript of this tool: {str(fault).splitlines()[0][:200]}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help="export the model again")) from fault
    return graph.network(program, f"TorchScript, torch {torch.__version__}")
