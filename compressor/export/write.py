"""A model in another tool's format, checked against the model before it is put in place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor

from compressor.artifact.load import LoadedModel
from compressor.artifact.save import Dtype
from compressor.artifact.size import holds_exactly
from compressor.evaluation.network import Network, Suppression
from compressor.export.check import compare
from compressor.export.checkpoint import checkpoint_bytes
from compressor.export.graph import Graph
from compressor.export.onnx_graph import write_onnx
from compressor.export.open import open_network
from compressor.export.openvino_ir import write_openvino
from compressor.export.script import write_torchscript
from compressor.export.state_dict import state_dict_bytes
from compressor.models.families import family_of
from compressor.recipe.exports import ExportFormat
from compressor.results.run import Agreement

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        image_size: of the square images that a graph takes, a multiple of the stride.
        dynamic_size: let a graph take any multiple of the stride.
        suppression: make it part of the graph.
    """

    image_size: int
    dynamic_size: bool = False
    suppression: Suppression | None = None


def write(loaded: LoadedModel, form: ExportFormat, options: Options, images: Tensor, place: Path) -> Agreement | None:
    """Write `place`, read it back and compare.

    Args:
        loaded: the model.
        form: the format.
        options: of graphs; a size of any kind is for `onnx` and `openvino`, suppression for `onnx`.
        images: (N, 3, S, S) in [0, 1] to compare on, S the image size.
        place: file, or of `openvino` folder, that does not exist; its ending decides how it is read back.

    Returns:
        How far the two are apart; None where suppression leaves nothing of either to compare.

    Raises:
        InputError: U912 a package that the format needs is not installed.
        ArtifactError: A503 what was written does not compute what the model does.
    """
    family = family_of(loaded.model)
    model = family.fold(copy.deepcopy(loaded.model))
    reference = Network(model.names, model.strides, lambda given: family.decode(model, model(given)), CPU)
    dtype: Dtype = "float16" if holds_exactly("float16", loaded.stored) else "float32"
    match form:
        case "yolov5":
            place.write_bytes(checkpoint_bytes(loaded.stored, getattr(torch, dtype)))
        case "dense":
            place.write_bytes(state_dict_bytes(loaded.stored, dtype))
        case "onnx":
            write_onnx(
                model,
                place,
                options.image_size,
                dynamic_size=options.dynamic_size,
                suppression=options.suppression,
            )
        case "openvino":
            graph = place.with_suffix(".onnx")
            write_onnx(model, graph, options.image_size, dynamic_size=options.dynamic_size)
            size = None if options.dynamic_size else options.image_size
            write_openvino(graph, place, Graph(model.names, model.strides, size))
            graph.unlink()
        case "torchscript":
            write_torchscript(model, place, options.image_size)
        case _:
            assert_never(form)
    return compare(reference, open_network(place, CPU), images, options.suppression, place.name)
