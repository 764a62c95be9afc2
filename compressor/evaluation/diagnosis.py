"""Outputs that are not finite: on which image, and from which layer on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.data.dataset import Sample
from compressor.data.sources import shown
from compressor.errors import Diagnostic, RunError
from compressor.evaluation.network import Network
from compressor.models.detector import Detector
from compressor.models.finite import are_finite


def check_finite(network: Network, images: Tensor, predictions: Tensor, samples: Sequence[Sample]) -> None:
    """Refuse predictions of a batch that are not finite: a score that is no number would pass for no detection.

    Args:
        network: what made them; where torch runs it, the layer is found by a second pass over the first such image.
        images: (B, 3, H, W), as `network.predict` took them.
        predictions: what it gave.
        samples: the B images.

    Raises:
        RunError: E811, naming the image and the layer.
    """
    if are_finite(predictions):
        return
    finite = torch.isfinite(predictions)
    if network.suppression is None:
        bad = (~finite).flatten(1).sum(dim=1)
    else:  # rows that begin with the image
        rows = predictions[~finite.all(dim=1), 0].nan_to_num(0.0).long().clamp(0, len(samples) - 1)
        bad = torch.bincount(rows, minlength=len(samples))
    at_fault = [index for index, count in enumerate(bad.tolist()) if count]
    first = at_fault[0]
    more = f", and on {len(at_fault) - 1} more of {len(samples)} images" if len(at_fault) > 1 else ""
    message = f"the model's outputs are not finite numbers on {shown(samples[first].image)}{more}"
    layer = first_not_finite(network.model, images[first : first + 1]) if network.model else None
    raise RunError(Diagnostic("E811", f"{message}{f'; {layer}' if layer else ''}", help=_HELP))


_HELP = "take another checkpoint, or prune less; on a GPU, where the network runs in float16, judge with --device cpu"


def first_not_finite(model: Detector, image: Tensor) -> str | None:
    """Which layer is the first, in the order in which they run, to make finite numbers into others; in words.

    Args:
        model: as it ran.
        image: (1, 3, H, W), of the model's device and number type.

    Returns:
        None where every layer's output is finite.
    """
    if not bool(torch.isfinite(image).all()):
        return "the image itself is not finite"
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(_told(name, module, inputs[0], output))

        return note

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(watch(name)) for name, module in leaves]
    try:
        with torch.inference_mode():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _told(name: str, module: nn.Module, given: Tensor, output: Tensor) -> str:
    count = int(output.numel() - torch.isfinite(output).sum())
    text = f"the first layer to give others is {name} ({type(module).__name__}), {count:,} of {output.numel():,} values"
    weights = [key for key, value in module.state_dict().items() if not bool(torch.isfinite(value).all())]
    if weights:
        return f"{text}, for its {' and '.join(weights)} is not finite once BatchNorm is folded into it"
    return f"{text}, given values up to {float(given.abs().max()):.3g}"
