"""What a weights file of another tool holds."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.models.detector import Detector


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """A network and what its file says of itself.

    Attributes:
        detector: float32, evaluation mode, frozen.
        dtype: number type of the weights in the file, such as `float16`.
        kind: what sort of file it is, in words.
        facts: what else the file tells, as label and text.
        assumed: what the file does not tell and was assumed, in words; empty where it tells all.
    """

    detector: Detector
    dtype: str
    kind: str
    facts: dict[str, str]
    assumed: str = ""
