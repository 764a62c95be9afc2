"""What torch's exporters trace."""

from __future__ import annotations

from torch import Tensor, nn

from compressor.models.detector import Detector
from compressor.models.families import family_of


class Decoding(nn.Module):
    """A network whose forward pass ends in decoded boxes.

    Args:
        model: the network.
        scores: end in boxes and scores as `Family.decode` gives them; else in what exported graphs give.
    """

    def __init__(self, model: Detector, *, scores: bool = False) -> None:
        super().__init__()
        self.network = model
        self.scores = scores
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to one row for each box."""
        family = family_of(self.network)
        output = family.exported(self.network, self.network(images))
        return family.decode_exported(output) if self.scores else output
