"""Estimated time of an evaluation, from a few short passes of the network."""

from __future__ import annotations

import torch

from compressor.data.batches import fit_image_size
from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.predict import Stopwatch
from compressor.models.detector import Detector
from compressor.models.strides import image_step
from compressor.recipe.schema import Evaluation as Settings

# Time beyond inference: waiting for images, NMS and the figures. 3 ms per image with YOLOv5n on 250 images of COCO at
# 320 px, 8 ms at 640 px, on a machine with two cores.
SECONDS_BESIDE_INFERENCE = 0.008

_CPU_IMAGE_SIZE = 320
_CPU_PARAMETERS = 60_000_000  # what one pass may put images through: 32 of YOLOv5n, 8 of YOLOv5s, one of YOLOv5x
_GPU_BATCH_SIZE = 8
_MEASUREMENT_S = 0.5


def inference_seconds(model: Detector, settings: Settings, device: torch.device) -> float:
    """Estimated seconds of inference per image, measured on random images, without reading, NMS and metrics.

    A CPU receives images of at most 320 px, as many as it processes in about a second, and the time is scaled by the
    number of pixels. One image of a small network would be too little: on a busy machine its threads wait for each
    other longer than they work. A GPU receives up to eight images of full size, since small ones take mostly the time
    to start the kernels.

    Args:
        model: is not changed; a copy is prepared as for a real evaluation.
        settings: image and batch size, and the number type; images are taken as square.
        device: where the model will run.
    """
    ready = inference_network(model, device, settings.precision)
    stride = image_step(ready.strides)
    full = fit_image_size(settings.image_size, stride)
    if device.type == "cuda":
        size, batch = full, min(settings.batch_size, _GPU_BATCH_SIZE)
    else:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        size = min(full, fit_image_size(_CPU_IMAGE_SIZE, stride))
        batch = max(1, min(settings.batch_size, round(_CPU_PARAMETERS / parameters)))
    images = torch.rand(batch, 3, size, size, device=device, dtype=ready.dtype)
    return _fastest_pass(ready, images) / batch * (full / size) ** 2


def _fastest_pass(network: Network, images: torch.Tensor) -> float:
    """Seconds of the fastest pass of those that fit into half a second; of the first if it takes longer."""
    watch = Stopwatch(images.device)
    times: list[float] = []
    with torch.inference_mode():
        if images.device.type == "cuda":
            network.predict(images)  # the first pass loads the kernels
        watch.start()
        while sum(times) < _MEASUREMENT_S:
            network.predict(images)
            times.append(watch.lap())
    return min(times)
