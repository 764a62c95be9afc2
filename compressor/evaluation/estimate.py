"""About how long an evaluation will take, told from a few short passes of the network."""

from __future__ import annotations

import torch

from compressor.data.batches import fit_image_size
from compressor.evaluation.predict import Stopwatch, inference_model
from compressor.yolov5.build import YOLOv5

OVERHEAD_S = 0.035  # per image, beside the network
_PROBE_SIZE = 320  # pixels; where a CPU is asked
_PROBE_BATCH = 8  # images; where a GPU is asked
_PASSES = 2


def seconds_per_image(model: YOLOv5, image_size: int, batch_size: int, device: torch.device) -> float:
    """About how long the network takes per image, measured by forward passes of random images.

    The model is copied, and run as it is when judged. A CPU gets one image of at most 320 px, and the time is scaled by
    the number of pixels.
    """
    ready = inference_model(model, device)
    stride = max(32, *ready.strides)
    full = fit_image_size(image_size, stride)
    size, batch = (full, min(batch_size, _PROBE_BATCH)) if device.type == "cuda" else (min(full, fit_image_size(_PROBE_SIZE, stride)), 1)
    images = torch.rand(batch, 3, size, size, device=device, dtype=next(ready.parameters()).dtype)
    watch = Stopwatch(device)
    with torch.inference_mode():
        ready.predict(images)
        watch.start()
        times: list[float] = []
        while len(times) < 2 or sum(times) < 0.5:
            ready.predict(images)
            times.append(watch.lap())
    return min(times) / batch * (full / size) ** 2
