"""The functions of each family of networks: a module for each, chosen by the one match below.

Outside of this folder nothing else knows what the outputs of a network mean, how its layers are named, or how its files
are read. A new family is a folder with a module of these functions and a case of the match; the type checker reports
what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, assert_never

import torch
from torch import Tensor

from compressor.models.channels import ChannelGroup
from compressor.models.convolution import Convolution
from compressor.models.detector import Detector, FamilyName, Spec
from compressor.models.losses import Loss, LossSettings
from compressor.models.weights_file import WeightsFile
from compressor.models.yolov5 import family as yolov5
from compressor.results.network import ModelSummary

UNNAMED: FamilyName = "yolov5"  # the family of files that name none


class Family(Protocol):
    """The functions of one family; `raw` is what its networks return, one tensor per detection level."""

    def build(self, spec: Spec, names: tuple[str, ...] | None = None, *, fused: bool = False) -> Detector:
        """A freshly initialised network, in training mode.

        Args:
            spec: its layer table and widths.
            names: class names; `0`, `1`, ... when not given.
            fused: without BatchNorm, ready to take the tensors of a folded network.

        Raises:
            ValueError: the layer table makes no network, or the widths do not go together.
        """

    def convolutions(self, spec: Spec) -> tuple[Convolution, ...]:
        """Every convolution in the order of the network's modules, without building it."""

    def channel_groups(self, spec: Spec) -> tuple[ChannelGroup, ...]:
        """Which channels can only be removed together, and where they are taken in."""

    def narrowed(self, spec: Spec, widths: Mapping[str, int]) -> Spec:
        """The same layer table with other output channels of some convolutions, by module name.

        Raises:
            ValueError: there is no such convolution, a width is below 1, or they do not go together.
        """

    def fold(self, detector: Detector) -> Detector:
        """Fold every BatchNorm into its convolution, in place; a folded network stays as it is."""

    def for_inference(self, detector: Detector, device: torch.device, dtype: torch.dtype) -> Detector:
        """A folded copy on a device, as that runs it fastest; for nothing but to be run and decoded."""

    def decode(self, detector: Detector, raw: list[Tensor]) -> Tensor:
        """Boxes of raw outputs and, for each, a score for every class.

        Returns:
            (B, N, 4 + nc): centre x, centre y, width, height in input pixels, then the scores, in [0, 1]; NaN where a
            raw output that it depends on is not finite.
        """

    def exported(self, detector: Detector, raw: list[Tensor]) -> Tensor:
        """Raw outputs to (B, N, `exported_width(nc)`): what graphs that were exported give in this family."""

    def exported_width(self, nc: int) -> int:
        """Numbers for each box in what `exported` gives, of so many classes."""

    def decode_exported(self, output: Tensor) -> Tensor:
        """What `exported` gives to what `decode` gives."""

    def object_maps(self, raw: list[Tensor]) -> list[Tensor]:
        """How sure the network is that there is an object, per level: (B, 1, H_l, W_l) in (0, 1)."""

    def stages(self, detector: Detector) -> tuple[int, ...]:
        """The layers that end a stage: whose feature maps a student is to give as its teacher does."""

    def output_loss(self, raw: list[Tensor], wanted: list[Tensor]) -> Tensor:
        """How far raw outputs are from those of another network: a scalar, at least 0, and 0 where they are equal."""

    def loss(self, detector: Detector, raw: list[Tensor], targets: Tensor, settings: LossSettings) -> Loss:
        """The loss of one batch in training.

        Args:
            detector: the network.
            raw: what it gave.
            targets: (n, 6) image index, class, centre x, centre y, width, height; as fractions of the image.
            settings: gains, as they are to be applied.
        """

    def prepare_training(self, detector: Detector) -> None:
        """Round what is not trained to what a released checkpoint holds, in place."""

    def summarise(self, detector: Detector) -> ModelSummary:
        """Layers, parameters and operations, as the family's own tools print them."""

    def describe(self, spec: Spec) -> dict[str, Any]:
        """A spec as JSON can hold it."""

    def read_spec(self, described: dict[str, Any], path: str) -> Spec:
        """The spec that `describe` gave, of a file that anyone may have written.

        Raises:
            CheckpointError: W304 to W311 it cannot be read.
        """

    def empty_network(
        self, spec: Spec, names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], path: str
    ) -> Detector:
        """A network without memory for its tensors, which have just these names and shapes.

        Raises:
            ValueError: the number of names is not that of the classes.
            CheckpointError: W305 they are not its tensors; W307, W311, W330, W331 it makes no network that is read.
        """

    def fill_network(self, empty: Detector, state: dict[str, Tensor], path: str) -> Detector:
        """Give such a network its tensors, of any number type: float32, evaluation mode, frozen.

        Raises:
            CheckpointError: W306 values that no network has; W311, W330, W331 as above.
        """

    def read_checkpoint(self, path: Path) -> WeightsFile:
        """A `.pt` file, of which no code runs.

        Raises:
            CheckpointError: W3xx it is missing, damaged, hostile or not supported.
        """

    def read_tensors(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        read: Callable[[str], Tensor],
        described: Mapping[str, Any],
        path: str,
    ) -> WeightsFile:
        """A network from tensors by the family's names.

        Args:
            shapes: of the tensors.
            read: a tensor by its name.
            described: what the file tells beside them.
            path: the file, for messages.

        Raises:
            ValueError, KeyError: they are not those of a network of the family.
            CheckpointError: W3xx as for any file.
        """


def family_of(detector: Detector) -> Family:
    """The functions of a network's family."""
    return family_named(detector.family)


def family_named(name: FamilyName) -> Family:
    """The functions of a family."""
    match name:
        case "yolov5":
            return yolov5
        case _:
            assert_never(name)
