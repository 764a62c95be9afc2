"""YOLOv5 as a family: what `families.Family` asks for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.models import channels
from compressor.models.channels import ChannelGroup
from compressor.models.convolution import Convolution
from compressor.models.detector import Detector
from compressor.models.losses import Loss, LossSettings
from compressor.models.weights_file import WeightsFile
from compressor.models.yolov5 import assemble, checkpoint
from compressor.models.yolov5.architecture import Architecture, architecture_from_yaml, architecture_to_yaml
from compressor.models.yolov5.blocks import C3, SPPF
from compressor.models.yolov5.build import build as built
from compressor.models.yolov5.convolutions import convolutions_of, with_widths
from compressor.models.yolov5.describe import summarise as summary_of
from compressor.models.yolov5.detect import head_of, scored
from compressor.models.yolov5.difference import head_loss, objectness
from compressor.models.yolov5.fuse import fuse
from compressor.models.yolov5.loss import detection_loss
from compressor.models.yolov5.onednn import prepare_for_cpu
from compressor.models.yolov5.state_dict import assumed_of, network_from_tensors
from compressor.results.network import ModelSummary


def build(spec: Architecture, names: tuple[str, ...] | None = None, *, fused: bool = False) -> Detector:
    """See `Family.build`."""
    return built(spec, names, fused=fused)


def convolutions(spec: Architecture) -> tuple[Convolution, ...]:
    """See `Family.convolutions`."""
    return convolutions_of(spec)


def channel_groups(spec: Architecture) -> tuple[ChannelGroup, ...]:
    """See `Family.channel_groups`."""
    return channels.channel_groups(convolutions_of(spec))


def narrowed(spec: Architecture, widths: Mapping[str, int]) -> Architecture:
    """See `Family.narrowed`."""
    return with_widths(spec, widths)


def fold(detector: Detector) -> Detector:
    """See `Family.fold`."""
    return fuse(detector)


def for_inference(detector: Detector, device: torch.device, dtype: torch.dtype) -> Detector:
    """See `Family.for_inference`."""
    replica = fuse(copy.deepcopy(detector).float()).eval().requires_grad_(False).to(device, dtype)
    head_of(replica).anchors = head_of(detector).anchors.float().to(device)  # boxes are decoded in float32
    if device.type == "cpu":
        prepare_for_cpu(replica)
    return replica


def decode(detector: Detector, raw: list[Tensor]) -> Tensor:
    """See `Family.decode`; a raw output that is infinite stays none, and does not become a sure 0 or 1."""
    return head_of(detector).detections(raw)


def exported(detector: Detector, raw: list[Tensor]) -> Tensor:
    """See `Family.exported`: (B, N, 5 + nc), objectness before the class probabilities."""
    return head_of(detector).decode(raw)


def exported_width(nc: int) -> int:
    """See `Family.exported_width`."""
    return 5 + nc


def decode_exported(output: Tensor) -> Tensor:
    """See `Family.decode_exported`."""
    return scored(output)


def object_maps(raw: list[Tensor]) -> list[Tensor]:
    """See `Family.object_maps`: the highest objectness of any anchor."""
    return objectness(raw)


def stages(detector: Detector) -> tuple[int, ...]:
    """See `Family.stages`."""
    return tuple(index for index, layer in enumerate(detector.model) if isinstance(layer, C3 | SPPF))


def output_loss(raw: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """See `Family.output_loss`."""
    return head_loss(raw, wanted)


def loss(detector: Detector, raw: list[Tensor], targets: Tensor, settings: LossSettings) -> Loss:
    """See `Family.loss`."""
    return detection_loss(raw, targets, head_of(detector).anchors, settings)


def prepare_training(detector: Detector) -> None:
    """See `Family.prepare_training`: a released checkpoint holds its anchors in float16."""
    anchors = head_of(detector).anchors
    anchors.copy_(anchors.half())


def summarise(detector: Detector) -> ModelSummary:
    """See `Family.summarise`."""
    return summary_of(detector)


def describe(spec: Architecture) -> dict[str, Any]:
    """See `Family.describe`: upstream's own `yaml` dictionary, and the widths that differ from it."""
    return architecture_to_yaml(spec)


def read_spec(described: dict[str, Any], path: str) -> Architecture:
    """See `Family.read_spec`."""
    anchors = tuple(tuple(zip(level[::2], level[1::2], strict=True)) for level in described["anchors"])
    return architecture_from_yaml(described, described["nc"], anchors, path)


def empty_network(
    spec: Architecture, names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], path: str
) -> Detector:
    """See `Family.empty_network`."""
    if len(names) != spec.nc:
        raise ValueError(f"{len(names)} class names for {spec.nc} classes")
    empty = assemble.empty_network(spec, names, shapes, path)
    assemble.check_fit(empty, shapes, path)
    return empty


def fill_network(empty: Detector, state: dict[str, Tensor], path: str) -> Detector:
    """See `Family.fill_network`."""
    return assemble.fill_network(empty, state, path)


def read_checkpoint(path: Path) -> WeightsFile:
    """See `Family.read_checkpoint`."""
    found = checkpoint.read_checkpoint(path)
    facts = {
        "container": found.container,
        "weights taken": found.weights,
        "pickled class": found.pickled_class or "- (a state dict, without modules)",
        "epoch": "-" if found.epoch is None else str(found.epoch),
        "date": found.date or "-",
        "optimizer state": "present" if found.has_optimizer else "none",
        **({"not read": ", ".join(found.passed_over)} if found.passed_over else {}),
    }
    return WeightsFile(found.model, found.dtype, "YOLOv5 checkpoint", facts, found.assumed)


def read_tensors(
    shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Tensor], described: Mapping[str, Any], path: str
) -> WeightsFile:
    """See `Family.read_tensors`; `names` and `yaml` (upstream's model YAML) are used where the file has them."""
    model = network_from_tensors(shapes, read, described, path)
    dtype = str(read(next(name for name in shapes if name.endswith(".conv.weight"))).dtype)
    assumed = assumed_of(model, described)
    return WeightsFile(model, dtype.removeprefix("torch."), "safetensors state dict", {}, assumed)
