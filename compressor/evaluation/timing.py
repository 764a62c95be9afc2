"""Two networks timed in turns, so that what the machine does meanwhile meets both alike."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.evaluation.network import Network
from compressor.evaluation.predict import Stopwatch
from compressor.results.run import Timing

PAIRS, _WARM_UP = 20, 3


def time_in_turns(before: Network, after: Network, image: Tensor) -> Timing:
    """Inference with decoding of one image, again and again by both in turns.

    Args:
        before: the model before the modifiers.
        after: the model after them, on the same device.
        image: (1, 3, S, S) in [0, 1], on the CPU.
    """
    watch = Stopwatch(before.device)
    taken: dict[str, list[float]] = {"before": [], "after": []}
    given = image.to(before.device, before.dtype)
    with torch.inference_mode():
        for turn in range(_WARM_UP + PAIRS):
            order = (("before", before), ("after", after))
            for name, network in order if turn % 2 else reversed(order):
                watch.start()
                network.predict(given)
                if turn >= _WARM_UP:
                    taken[name].append(round(1e3 * watch.lap(), 4))
    return Timing(image.shape[3], tuple(taken["before"]), tuple(taken["after"]))
