"""TorchScript: the traced network in one file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from compressor import __version__
from compressor.artifact.load import missing
from compressor.artifact.save import canonical_json
from compressor.errors import CheckpointError, Diagnostic
from compressor.evaluation.network import Network
from compressor.export.described import checked_size, checked_strides
from compressor.export.formats import EXPORTED_BY
from compressor.export.traced import Decoding
from compressor.yolov5.build import YOLOv5

_METADATA = "config.txt"  # as upstream's export names it


def write_torchscript(model: YOLOv5, file: Path, image_size: int) -> None:
    """Write the network for squares of one size; (B, 3, S, S) to (B, rows, nc + 5), decoded.

    Args:
        model: float32, on the CPU.
        file: is overwritten.
        image_size: S, a multiple of the stride.
    """
    described = {
        EXPORTED_BY: f"compressor {__version__}",
        "shape": [1, 3, image_size, image_size],  # this and the next two as upstream's scripts read them
        "stride": max(model.strides),
        "names": dict(enumerate(model.names)),
        "strides": list(model.strides),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer tells that shapes become constants, which is meant
        traced = torch.jit.trace(Decoding(model), torch.zeros(1, 3, image_size, image_size))  # type: ignore[no-untyped-call]
        traced.save(str(file), _extra_files={_METADATA: canonical_json(described)})


def open_torchscript(file: Path) -> Network:
    """A network that torch's interpreter computes, on the CPU, where it was traced.

    TorchScript is a program: open only files that are trusted.

    Raises:
        CheckpointError: W301 there is no such file; W302 it is no TorchScript of a YOLOv5.
    """
    if not file.is_file():
        raise missing(file)
    extra: dict[str, Any] = {_METADATA: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        known = json.loads(extra[_METADATA])
        names = tuple(str(known["names"][str(index)]) for index in range(len(known["names"])))
        strides, size = checked_strides(known["strides"]), known["shape"][2]
        checked_size(size, strides)
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as fault:
        message = f"not the TorchScript of a YOLOv5: {str(fault).splitlines()[0][:200]}"
        raise CheckpointError(Diagnostic("W302", message, str(file), help="export the model again")) from fault
    runs_on = f"TorchScript, torch {torch.__version__}"
    return Network(names, strides, program, torch.device("cpu"), torch.float32, runs_on, size)
