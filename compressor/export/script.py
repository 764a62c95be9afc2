"""TorchScript: the traced network in one file."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.artifact.load import missing
from compressor.artifact.save import canonical_json
from compressor.errors import CheckpointError, Diagnostic, first_line
from compressor.evaluation.network import Network
from compressor.export.graph import METADATA, Graph, Signature
from compressor.export.traced import Decoding
from compressor.export.upstream import CONFIG, graph_of_json
from compressor.files.signals import held_back
from compressor.models.detector import Detector


def write_torchscript(model: Detector, file: Path, image_size: int) -> None:
    """Write the network for squares of one size; (B, 3, S, S) to what `Family.exported` gives.

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
    extra = {CONFIG: canonical_json(described), METADATA: Graph(model.names, model.strides, image_size).to_json()}
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
        CheckpointError: W301 there is no such file; W302 it is not the TorchScript of a YOLOv5.
    """
    if not file.is_file():
        raise missing(file)
    extra: dict[str, Any] = {METADATA: "", CONFIG: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        graph = _graph(extra, program)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        message = f"not the TorchScript of a YOLOv5: {first_line(error)}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help="export the model again")) from error

    def compute(images: Tensor) -> Tensor:
        output = program(images)
        while isinstance(output, tuple | list) and output:  # upstream's gives the boxes first
            output = output[0]
        return output if isinstance(output, Tensor) else torch.zeros(0)

    return graph.network(compute, f"TorchScript, torch {torch.__version__}")


def _graph(extra: dict[str, Any], program: Any) -> Graph:
    """What the file says of itself, or, of an export by YOLOv5 itself, what its `config.txt` says.

    Raises:
        ValueError, RecursionError, KeyError, TypeError: it is not that of a YOLOv5.
    """
    dtype = next((weight.dtype for weight in program.parameters()), torch.float32)
    if extra[METADATA]:
        return replace(Graph.from_json(_text(extra[METADATA])), dtype=dtype)
    if not extra[CONFIG]:
        raise ValueError(f"it holds no {CONFIG}, in which YOLOv5's export tells names and stride")
    graph, shape = graph_of_json(_text(extra[CONFIG]))
    return graph.with_signature(Signature(shape, None, dtype))


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
