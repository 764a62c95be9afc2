"""How important a weight is: one score per weight, higher is kept longer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def magnitude(weight: Tensor) -> NDArray[np.float32]:
    """|w| (Han et al. 2015, arXiv:1506.02626).

    Args:
        weight: any shape, any floating type.

    Returns:
        (numel,) in C order.
    """
    scores: NDArray[np.float32] = weight.detach().abs().float().cpu().numpy().reshape(-1)
    return scores
