"""One convolution of a network, described without building it; needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.recipe.targets import Role


@dataclass(frozen=True)
class Convolution:
    """One convolution of a network.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        role: stem is layer 0, detect the three or four output convolutions, neck the rest of the head.
        types: what it is and the blocks around it, such as `("Conv2d", "Conv", "C3")`.
        shape: (C_out, C_in, kH, kW) of its weight; C_in is per channel group.
        stride: input pixels of the network per output pixel of the convolution.
        step: pixels of its own input per output pixel, in both directions.
        padding: zeros on each side.
        groups: channel groups.
        takes: the convolutions whose outputs its input is made of, one after another; empty where it takes the image.
        added_to: the convolution to whose outputs its own are added, channel by channel.
    """

    name: str
    role: Role
    types: tuple[str, ...]
    shape: tuple[int, int, int, int]
    stride: int
    step: int = 1
    padding: int = 0
    groups: int = 1
    takes: tuple[str, ...] = ()
    added_to: str | None = None

    @property
    def c_in(self) -> int:
        """Channels of its input, of all groups."""
        return self.shape[1] * self.groups

    @property
    def c_out(self) -> int:
        """Channels of its output: its width."""
        return self.shape[0]

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def kernel(self) -> str:
        """Height and width, such as `3x3`."""
        return f"{self.shape[2]}x{self.shape[3]}"

    def macs(self, image_size: int) -> int:
        """Multiply-accumulates of its weights for one square image; `image_size` in pixels, a multiple of `stride`."""
        return self.weights * (image_size // self.stride) ** 2
