"""What an exported graph says of itself, and what it gives: both are checked, since anyone may have written it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from compressor.artifact.save import canonical_json
from compressor.errors import Diagnostic, RunError
from compressor.evaluation.network import Network, Suppression
from compressor.export.mark import EXPORTED_BY
from compressor.models.families import UNNAMED, family_named
from compressor.models.finite import are_finite
from compressor.models.strides import DETECTION_STRIDES
from compressor.version import __version__

METADATA = "compressor"  # the key under which a file holds it
_LARGEST = 8192
_MOST_BYTES = 2**31  # of the images of one pass, where their number is not ours to choose
_DTYPES = (torch.float32, torch.float16)
_MOST_IMAGES = 1024  # likewise
_FAMILY = family_named(UNNAMED)  # no graph says which


@dataclass(frozen=True)
class Signature:
    """What a runtime tells of a graph; None stands for a dimension that is open.

    Attributes:
        takes: shape of the only input.
        gives: shape of the first output; None where nothing is known of it before it is computed.
        dtype: number type of the input.
    """

    takes: tuple[int | None, ...]
    gives: tuple[int | None, ...] | None
    dtype: torch.dtype


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
    batch_size: int | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not self.strides or not set(self.strides) <= set(DETECTION_STRIDES):
            raise ValueError(f"its strides are {str(self.strides)[:60]}")
        size = self.image_size
        if size is not None and (type(size) is not int or not 0 < size <= _LARGEST or size % max(self.strides)):
            raise ValueError(f"its image size is {str(size)[:60]}")

    def to_json(self) -> str:
        """As a file holds it; the batch size and the number type follow from the graph itself."""
        described = {name: value for name, value in asdict(self).items() if name not in ("batch_size", "dtype")}
        return canonical_json({EXPORTED_BY: f"compressor {__version__}", **described})

    @staticmethod
    def from_json(text: str) -> Graph:
        """What `to_json` gave; ValueError, KeyError or TypeError for anything else."""
        known: dict[str, Any] = json.loads(text)
        suppression = Suppression(**known["suppression"]) if known["suppression"] else None
        return Graph(tuple(map(str, known["names"])), tuple(known["strides"]), known["image_size"], suppression)

    def with_signature(self, signature: Signature) -> Graph:
        """The same with what the graph itself tells: how many images it takes at a time, and in which number type.

        Raises:
            ValueError: it takes or gives something else than it says, or than can be evaluated.
        """
        takes, gives = signature.takes, signature.gives
        if signature.dtype not in _DTYPES or len(takes) != 4 or takes[1] not in (3, None):
            raise ValueError(f"its input is {signature.dtype} {shape_text(takes)}")
        if square_size(takes) != self.image_size:
            raise ValueError(f"its input is {shape_text(takes)} for images of {self.image_size} px")
        batch, columns = takes[0], 7 if self.suppression else _FAMILY.exported_width(len(self.names))
        if gives is not None and (len(gives) != (2 if self.suppression else 3) or gives[-1] not in (columns, None)):
            raise ValueError(f"its output is {shape_text(gives)} for {len(self.names)} classes")
        if batch is not None:
            size_bytes = 3 * 4 * batch * (self.image_size or 0) ** 2
            if self.suppression or not 0 < batch <= _MOST_IMAGES or size_bytes > _MOST_BYTES:
                raise ValueError(f"it takes batches of {batch} only; export it with a dynamic batch")
        return replace(self, batch_size=batch, dtype=signature.dtype)

    def network(self, compute: Callable[[Tensor], Tensor], runs_on: str) -> Network:
        """The graph ready to run on the CPU in float32; what `compute` gives is checked."""

        def predict(images: Tensor) -> Tensor:
            whole = self._filled_up(images.to(self.dtype).contiguous())  # OpenVINO takes no channels last
            output = compute(whole)
            self._check(output, len(whole))
            output = (output if len(whole) == len(images) else output[: len(images)]).float()
            return output if self.suppression else _FAMILY.decode_exported(output)

        return Network(
            self.names,
            self.strides,
            predict,
            torch.device("cpu"),
            self.dtype,
            runs_on=runs_on,
            image_size=self.image_size,
            batch_size=self.batch_size,
            suppression=self.suppression,
        )

    def _filled_up(self, images: Tensor) -> Tensor:
        """The images, and black ones up to the number that the graph takes."""
        missing = (self.batch_size or len(images)) - len(images)
        if missing < 0:
            raise AssertionError(f"{len(images)} images for a graph that takes {self.batch_size}")
        return torch.cat((images, images.new_zeros(missing, *images.shape[1:]))) if missing else images

    def _check(self, output: Tensor, images: int) -> None:
        """Refuse outputs of another kind, and numbers that say nothing.

        Raises:
            RunError: E811.
        """
        nc = len(self.names)
        if self.suppression is not None:
            shaped = output.ndim == 2 and output.shape[1] == 7
        else:
            shaped = output.ndim == 3 and output.shape[::2] == (images, _FAMILY.exported_width(nc))
        error = None
        if not shaped or not output.is_floating_point():
            found = f"{output.dtype} of shape {list(output.shape)}"
            error = f"the graph gives {found} for {images} images and {nc} classes"
        elif not are_finite(output):
            error = "the graph gives numbers that are not finite"
        elif self.suppression is not None:
            indices = output[:, [0, 6]]
            if not bool(((indices >= 0) & (indices < torch.tensor([images, nc]))).all()):
                error = "the graph gives detections of images or classes that there are not"
        if error is not None:
            raise RunError(Diagnostic("E811", error, help="export the model again"))


def square_size(takes: Sequence[int | None]) -> int | None:
    """The side of the only squares that an input of (B, 3, H, W) takes; None where it takes any size.

    Raises:
        ValueError: it takes rectangles of one shape.
    """
    height, width = takes[2:4]
    if height != width:
        raise ValueError(f"its input is {shape_text(takes)}, and only squares, or any size, can be evaluated")
    return height


def shape_text(shape: Sequence[int | None]) -> str:
    """`[1, 3, 640, 640]`, with `any` for a dimension that is open."""
    return f"[{', '.join('any' if each is None else str(each) for each in shape)}]"
