"""How large a network of any family may be that is read, and what is said of a larger one; without torch."""

from __future__ import annotations

from compressor.errors import CheckpointError, Diagnostic

MOST_WEIGHTS = 600_000_000  # four times those of YOLOv5x6, which weigh 0.6 GB in float32
MOST_TENSORS = 20_000  # YOLOv5x6 has 1,000, and four times as many where each is a bitmask


def beyond(what: str, path: str) -> CheckpointError:
    """W330: the network is larger than any that is read."""
    help_text = "read a YOLOv5 of a released size; `compressor explain W330` lists the bounds"
    return CheckpointError(Diagnostic("W330", what, path, help=help_text))
