"""How far the raw outputs of a model that is being changed are from what they were; needs no labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from compressor.errors import Diagnostic, RunError
from compressor.evaluation.diagnosis import first_not_finite
from compressor.evaluation.out_of_memory import enough_memory
from compressor.models.detector import Detector
from compressor.models.families import Family, family_of

_BATCH = 8  # images at a time; the figures do not depend on it

State = Mapping[int, Any]  # outputs by architecture layer, -1 the images: a tensor each, and of Detect a list


class OutputChange:
    """The change of the raw outputs as `Family.output_loss` measures it, the mean over images.

    What stands before the changed layer gives what it gave before, so only the rest of the network is run again.

    Args:
        model: in evaluation mode.
        images: (N, 3, H, W) in [0, 1]; H and W multiples of the largest stride.
        device: where the model is.

    Attributes:
        images: how many.
        digest: of the images.

    Raises:
        RunError: E811 the outputs are not finite; E812 the device has too little memory.
    """

    def __init__(self, model: Detector, images: Tensor, device: torch.device) -> None:
        self.model = model
        self._family = family_of(model)
        self.images = len(images)
        self.digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()
        self._reached = 0  # the first architecture layer that the states do not hold
        batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        self._states: list[State] = [{-1: batch.to(device)} for batch in batches]
        self._dense = [self._outputs(state) for state in self._states]
        for state, levels in zip(self._states, self._dense, strict=True):
            if not all(bool(torch.isfinite(level).all()) for level in levels):
                layers = (first_not_finite(model, image[None]) for image in state[-1])
                raise _not_finite(next((layer for layer in layers if layer), None))

    def loss(self, first: int) -> float:
        """The change now.

        Args:
            first: the architecture layer that is changed, and no other; asked for in ascending order.
        """
        assert first >= self._reached
        with torch.inference_mode():
            self._states = [self.model.advance(state, range(self._reached, first)) for state in self._states]
        self._reached = first
        change = sum(
            _summed_over_images(self._family, self._outputs(state), dense)
            for state, dense in zip(self._states, self._dense, strict=True)
        )
        return _check_finite(change / self.images)

    def _outputs(self, state: State) -> list[Tensor]:
        """The raw outputs of every level, from where the state stands."""
        last = len(self.model.model)
        message = "the device has too little memory to run the network on these images"
        with enough_memory(message, "give a smaller --image-size, or fewer --images"), torch.inference_mode():
            outputs: list[Tensor] = self.model.advance(state, range(self._reached, last))[last - 1]
        return outputs


def _summed_over_images(family: Family, now: list[Tensor], then: list[Tensor]) -> float:
    """In double precision: what a layer costs that hardly matters is a small difference of large numbers."""
    pairs = [(a.double(), b.double()) for a, b in zip(now, then, strict=True)]
    images = range(len(now[0]))
    return sum(
        float(family.output_loss([a[i : i + 1] for a, _ in pairs], [b[i : i + 1] for _, b in pairs])) for i in images
    )


def _check_finite(number: float) -> float:
    if not math.isfinite(number):
        raise _not_finite(None)
    return number


def _not_finite(layer: str | None) -> RunError:
    message = f"the model's outputs are not finite numbers{f'; {layer}' if layer else ''}"
    return RunError(Diagnostic("E811", message, help="take another checkpoint, or prune less"))
