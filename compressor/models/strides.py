"""Which sides images have for a network."""

from __future__ import annotations

from collections.abc import Sequence

DETECTION_STRIDES = (4, 8, 16, 32, 64, 128)  # of the levels P2 to P7
_LEAST = 32  # pixels: upstream evaluates networks of smaller strides on multiples of it, too


def image_step(strides: Sequence[int]) -> int:
    """Of how many pixels the sides of evaluated images are multiples: the largest stride, and at least 32."""
    return max(_LEAST, *strides)
