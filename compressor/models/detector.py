"""What every other package sees of a network; what is special to its family is asked of `families.family_of`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from compressor.models.yolov5.architecture import Architecture

FamilyName = Literal["yolov5"]
Spec = Architecture  # what a network is built from: its layer table and widths; a union, once there is another family


class Detector(nn.Module):
    """A network that detects objects: layers that run in order, each on the outputs of earlier ones.

    It is a module itself and not a holder of one, so that `copy.deepcopy`, `to` and hooks mean all of it.

    Args:
        family: whose functions know what its outputs mean.
        spec: what it is built from; the family's `build` makes the same network of it.
        names: class names, index is the class.
        layers: the last gives the raw outputs.
        sources: of each layer, the layers whose outputs it takes; -1 is the images.
        strides: per detection level, input pixels per grid cell.

    Attributes:
        model: the layers; the tensors of layer i have names that begin with `model.<i>`.
    """

    def __init__(
        self,
        family: FamilyName,
        spec: Spec,
        names: tuple[str, ...],
        layers: Sequence[nn.Module],
        sources: Sequence[tuple[int, ...]],
        strides: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.family = family
        self.spec = spec
        self.names = names
        self.strides = strides
        self.model = nn.Sequential(*layers)
        self._sources = tuple(sources)
        self._taken_after = [frozenset((i,)).union(*self._sources[i + 1 :]) for i in range(len(self._sources))]

    @property
    def fused(self) -> bool:
        """Whether BatchNorm is folded into the convolutions."""
        return not any(isinstance(module, nn.BatchNorm2d) for module in self.modules())

    def forward(self, images: Tensor) -> list[Tensor]:
        """RGB images (B, 3, H, W) in [0, 1], H and W multiples of the largest stride, to raw outputs per level.

        What they mean is known to the family: see its `decode`.
        """
        last = len(self._sources) - 1
        raw: list[Tensor] = self.advance({-1: images}, range(last + 1))[last]
        return raw

    def advance(self, outputs: Mapping[int, Any], layers: range) -> dict[int, Any]:
        """Run some layers; of all outputs only those that later layers take are held on to, and the last.

        Args:
            outputs: by layer, what those before the first of `layers` gave; -1 is the images.
            layers: consecutive ones.

        Returns:
            The same after the last of `layers`: a tensor each, and of the last layer what `forward` returns.
        """
        held = dict(outputs)
        for i, layer in zip(layers, list(self.model)[layers.start : layers.stop], strict=True):
            inputs = [held[source] for source in self._sources[i]]
            held[i] = layer(inputs[0] if len(inputs) == 1 else inputs)
            held = {index: output for index, output in held.items() if index in self._taken_after[i]}
        return held


def sparsity(model: nn.Module) -> float:
    """Fraction of all parameter elements that are exactly zero, as upstream's `sparsity(model)` counts."""
    parameters = list(model.parameters())
    zeros = sum(int((p == 0).sum()) for p in parameters)
    return zeros / sum(p.numel() for p in parameters)
