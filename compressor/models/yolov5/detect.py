"""The detection head: raw outputs per level and their decoding to boxes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from compressor.models.convolution import Convolution
from compressor.models.detector import Detector
from compressor.models.finite import are_finite


class Detect(nn.Module):
    """One 1x1 convolution with bias per feature level, and the decoding of its output.

    Args:
        nc: number of classes.
        anchors: per level, (width, height) pairs in pixels at the network's input.
        convolutions: per level, with its stride: input pixels per grid cell.
        keep_anchor_grid: also hold `anchor_grid`, as generation v5 checkpoints do.
    """

    anchors: Tensor

    def __init__(
        self,
        nc: int,
        anchors: tuple[tuple[tuple[float, float], ...], ...],
        convolutions: tuple[Convolution, ...],
        *,
        keep_anchor_grid: bool = False,
    ) -> None:
        super().__init__()
        self.nc = nc
        self.no = nc + 5
        pixels = torch.tensor(anchors, dtype=torch.float32)
        self.levels, self.na = pixels.shape[:2]
        self.strides = tuple(convolution.stride for convolution in convolutions)
        cells = [[(w / s, h / s) for w, h in level] for level, s in zip(anchors, self.strides, strict=True)]
        self.register_buffer("anchors", torch.tensor(cells, dtype=torch.float32))  # exact: strides are powers of two
        if keep_anchor_grid:
            self.register_buffer("anchor_grid", pixels.view(self.levels, 1, -1, 1, 1, 2))
        self.m = nn.ModuleList(nn.Conv2d(each.c_in, each.c_out, 1) for each in convolutions)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Feature maps (B, C_l, H_l, W_l) to raw logits (B, na, H_l, W_l, nc + 5), one per level.

        The last axis is x, y, w, h, objectness, class 0 ... class nc - 1.
        """
        raw = []
        for conv, feature in zip(self.m, features, strict=True):
            batch, _, height, width = feature.shape
            raw.append(conv(feature).view(batch, self.na, self.no, height, width).permute(0, 1, 3, 4, 2).contiguous())
        return raw

    def decode(self, raw: list[Tensor]) -> Tensor:
        """Raw logits to boxes in input pixels.

        x = (2 sigmoid(x) - 0.5 + column) * stride and w = (2 sigmoid(w))^2 * anchor width; y and h alike.
        Half-precision logits are decoded in float32: float16 cannot tell neighbouring pixels apart beyond 2,048.

        Args:
            raw: what `forward` returned.

        Returns:
            (B, sum of na * H_l * W_l, nc + 5): centre x, centre y, width, height in pixels, objectness, and
            class probabilities not multiplied by objectness. Rows run level by level, anchor, row, column.
        """
        return torch.cat([self._decode_level(level, logits) for level, logits in enumerate(raw)], dim=1)

    def _decode_level(self, level: int, logits: Tensor) -> Tensor:
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        probabilities = logits.sigmoid()
        xy, wh = self.boxes(probabilities, level)
        return torch.cat((xy, wh, probabilities[..., 4:]), dim=-1).view(
            logits.shape[0], -1, self.no
        )  # a trace would keep `len`

    def detections(self, raw: list[Tensor]) -> Tensor:
        """Raw logits to boxes in input pixels and a score for each class: class probability times objectness.

        Args:
            raw: what `forward` returned.

        Returns:
            (B, rows, 4 + nc) in the rows of `decode`; NaN where a logit that it depends on is not finite, which would
            pass for a sure 0 or 1.
        """
        found = self._scored(raw)
        if all(map(are_finite, raw)):
            return found
        bad = ~torch.isfinite(torch.cat([logits.flatten(1, 3) for logits in raw], dim=1))
        return found.masked_fill(torch.cat((bad[..., :4], bad[..., 4:5] | bad[..., 5:]), dim=-1), torch.nan)

    def _scored(self, raw: list[Tensor]) -> Tensor:
        return scored(self.decode(raw))

    def boxes(self, probabilities: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Centres and sizes in input pixels, (B, na, H, W, 2) each, of one level's (B, na, H, W, nc + 5)."""
        height, width = probabilities.shape[2:4]
        stride = self.strides[level]
        anchor_px = (self.anchors[level].to(probabilities.dtype) * stride).view(1, self.na, 1, 1, 2)
        rows = torch.arange(height, device=probabilities.device, dtype=probabilities.dtype)
        columns = torch.arange(width, device=probabilities.device, dtype=probabilities.dtype)
        grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
        grid = torch.stack((grid_x, grid_y), dim=-1) - 0.5
        xy = (probabilities[..., 0:2] * 2 + grid) * stride
        wh = (probabilities[..., 2:4] * 2) ** 2 * anchor_px
        return xy, wh

    def initialise_biases(self, class_confidence: float = 0.99999) -> None:
        """Start from about 8 objects in a 640 x 640 image and rare classes (Lin et al. 2017, arXiv:1708.02002).

        Args:
            class_confidence: c in ln(0.6 / (nc - c)); 0.99999 as in release v7.0.
        """
        for conv, stride in zip(self.m, self.strides, strict=True):
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            bias = conv.bias.detach().view(self.na, self.no)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.nc - class_confidence))


def head_of(detector: Detector) -> Detect:
    """The head of a network."""
    head = detector.model[-1]
    assert isinstance(head, Detect)
    return head


def scored(decoded: Tensor) -> Tensor:
    """(B, N, 5 + nc) as `Detect.decode` gives them to (B, N, 4 + nc): boxes, and scores instead of probabilities."""
    return torch.cat((decoded[..., :4], decoded[..., 5:] * decoded[..., 4:5]), dim=-1)
