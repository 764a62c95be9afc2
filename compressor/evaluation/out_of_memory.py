"""Too little memory: a batch that does not fit is computed in halves, or the run ends with E812."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from compressor.errors import Diagnostic, RunError, ran_out_of_memory


@contextmanager
def enough_memory(message: str, help_text: str, place: str = "") -> Iterator[None]:
    """Report too little memory, on any device, as an error that says how to do with less.

    Args:
        message: what did not fit.
        help_text: how to need less.
        place: the option that asked for it.

    Raises:
        RunError: E812 there is too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise RunError(Diagnostic("E812", message, place, help=help_text)) from error


class Halving:
    """Calls a detector on as many images at once as fit, and remembers how many that were.

    The images keep the padded shape of their batch, so the network sees each one as in the whole batch. Libraries still
    choose their kernels by the size of a batch, so the last bits of a network's output can differ.

    Args:
        numbered: whether rows begin with the number of their image within the batch, as those of a graph with
            non-maximum suppression do; else outputs have one row per image.
        notify: called with a sentence whenever the number is halved.

    Attributes:
        most: images at once; None until a batch did not fit.
    """

    def __init__(self, notify: Callable[[str], None], *, numbered: bool = False) -> None:
        self.notify = notify
        self.numbered = numbered
        self.most: int | None = None

    def __call__(self, predict: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The predictions for a batch.

        Args:
            predict: (B, 3, H, W) to (B, ...), or with `numbered` to (n, 7).
            images: (B, 3, H, W).

        Raises:
            MemoryError, RuntimeError: a single image does not fit, see `ran_out_of_memory`.
        """
        while True:
            size = min(self.most or len(images), len(images))
            problem = None
            try:
                return self._in_parts(predict, images, size)
            except (MemoryError, RuntimeError) as error:
                if size <= 1 or not ran_out_of_memory(error):
                    raise
                problem = f"{images.device} has too little memory for {size} images"
            self.most = (size + 1) // 2  # after the handler, whose traceback holds the memory that did fit
            if images.device.type == "cuda":
                torch.cuda.empty_cache()
            self.notify(f"{problem} of {images.shape[3]} x {images.shape[2]} px at once: going on with {self.most}")

    def _in_parts(self, predict: Callable[[Tensor], Tensor], images: Tensor, size: int) -> Tensor:
        if size == len(images):
            return predict(images)
        found = []
        for first in range(0, len(images), size):
            part = predict(images[first : first + size])
            if self.numbered:
                part = torch.cat((part[:, :1] + first, part[:, 1:]), dim=1)
            found.append(part)
        return torch.cat(found)
