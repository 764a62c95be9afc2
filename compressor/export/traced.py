"""What torch's exporters trace."""

from __future__ import annotations

from torch import Tensor, nn

from compressor.models.yolov5.build import YOLOv5


class Decoding(nn.Module):
    """A network whose forward pass ends in decoded boxes, as upstream's exports do."""

    def __init__(self, model: YOLOv5) -> None:
        super().__init__()
        self.network = model
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, rows, nc + 5); see `Detect.decode`."""
        return self.network.predict(images)
