"""Seeded weights that depend on the names and shapes of the tensors alone."""

from __future__ import annotations

import re
import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.models.detector import Detector


def fill_array(key: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Seeded values of one state-dict entry, by the filling rule; None keeps the built value."""
    leaf = key.rsplit(".", 1)[1]
    if leaf in ("anchors", "anchor_grid", "num_batches_tracked"):
        return None
    u = np.random.RandomState(zlib.crc32(key.encode("ascii"))).random_sample(shape)
    if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        v = 0.5 + u
    elif leaf in ("running_mean", "bias"):
        v = 0.2 * (2.0 * u - 1.0)
    else:
        v = np.sqrt(6.0 / np.prod(shape[1:])) * (2.0 * u - 1.0)
        if re.search(r"\.m\.\d+\.cv2\.conv\.weight$", key):
            v = 0.25 * v
    filled: NDArray[np.float32] = v.astype(np.float32)
    return filled


def fill(model: Detector) -> Detector:
    """Give an unfused model the filling rule's seeded weights, in place."""
    state = model.state_dict()
    for key, value in state.items():
        filled = fill_array(key, tuple(value.shape))
        if filled is not None:
            state[key] = torch.from_numpy(filled)
    model.load_state_dict(state)
    return model
