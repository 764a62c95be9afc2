"""What an exported graph says of itself, and what it gives: both are checked, since anyone may have written it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from compressor import __version__
from compressor.artifact.save import canonical_json
from compressor.errors import Diagnostic, RunError
from compressor.evaluation.network import Network, Suppression, are_finite
from compressor.export.mark import EXPORTED_BY

METADATA = "compressor"  # the key under which a file holds it
_STRIDES = frozenset((8, 16, 32, 64))
_LARGEST = 8192


@dataclass(frozen=True)
class Graph:
    """A graph; `Network` tells of its attributes.

    Raises:
        ValueError: no YOLOv5 has such strides, or takes images of such a size.
    """

    names: tuple[str, ...]
    strides: tuple[int, ...]
    image_size: int | None
    suppression: Suppression | None = None

    def __post_init__(self) -> None:
        if not self.strides or not set(self.strides) <= _STRIDES:
            raise ValueError(f"its strides are {str(self.strides)[:60]}")
        size = self.image_size
        if size is not None and (type(size) is not int or not 0 < size <= _LARGEST or size % max(self.strides)):
            raise ValueError(f"its image size is {str(size)[:60]}")

    def to_json(self) -> str:
        """As a file holds it."""
        return canonical_json({EXPORTED_BY: f"compressor {__version__}", **asdict(self)})

    @staticmethod
    def from_json(text: str) -> Graph:
        """What `to_json` gave; ValueError, KeyError or TypeError for anything else."""
        known: dict[str, Any] = json.loads(text)
        suppression = Suppression(**known["suppression"]) if known["suppression"] else None
        return Graph(tuple(map(str, known["names"])), tuple(known["strides"]), known["image_size"], suppression)

    def network(self, compute: Callable[[Tensor], Tensor], runs_on: str) -> Network:
        """The graph ready to run on the CPU in float32; what `compute` gives is checked."""

        def predict(images: Tensor) -> Tensor:
            output = compute(images.contiguous())  # OpenVINO takes no channels last
            self._check(output, len(images))
            return output

        return Network(
            self.names,
            self.strides,
            predict,
            torch.device("cpu"),
            runs_on=runs_on,
            image_size=self.image_size,
            suppression=self.suppression,
        )

    def _check(self, output: Tensor, images: int) -> None:
        """Refuse outputs of another kind, and numbers that say nothing.

        Raises:
            RunError: E811.
        """
        nc = len(self.names)
        if self.suppression is not None:
            shaped = output.ndim == 2 and output.shape[1] == 7
        else:
            shaped = output.ndim == 3 and output.shape[::2] == (images, nc + 5)
        fault = None
        if not shaped or not output.is_floating_point():
            fault = f"the graph gives {output.dtype} of shape {list(output.shape)} for {images} images"
        elif not are_finite(output):
            fault = "the graph gives numbers that are not finite"
        elif self.suppression is not None:
            indices = output[:, [0, 6]]
            if not bool(((indices >= 0) & (indices < torch.tensor([images, nc]))).all()):
                fault = "the graph gives detections of images or classes that there are not"
        if fault is not None:
            raise RunError(Diagnostic("E811", fault, help="export the model again"))
