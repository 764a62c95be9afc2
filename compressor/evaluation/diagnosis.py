"""Outputs that are not finite: the first such image and layer."""

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
    """Refuse predictions of a batch that are not finite: a score of NaN would count as no detection.

    Args:
        network: that made them; if torch runs it, the layer is found by a second pass over the first such image.
        images: (B, 3, H, W), the input of `network.predict`.
        predictions: its output.
        samples: the B images.

    Raises:
        RunError: E811, naming the image and the layer.
    """
    if are_finite(predictions):
        return
    finite = torch.isfinite(predictions)
    if network.suppression is None:
        bad = (~finite).flatten(1).sum(dim=1)
    else:  # rows begin with the number of their image
        rows = predictions[~finite.all(dim=1), 0].nan_to_num(0.0).long().clamp(0, len(samples) - 1)
        bad = torch.bincount(rows, minlength=len(samples))
    affected = [index for index, count in enumerate(bad.tolist()) if count]
    first = affected[0]
    more = f", and on {len(affected) - 1} more of {len(samples)} images" if len(affected) > 1 else ""
    message = f"the model's outputs are not finite numbers on {shown(samples[first].image)}{more}"
    layer = first_not_finite(network.model, images[first : first + 1]) if network.model else None
    raise RunError(Diagnostic("E811", f"{message}{f'; {layer}' if layer else ''}", help=_HELP))


_HELP = (
    "take another checkpoint, or prune less; on a GPU, where the network runs in float16, evaluate with --device cpu"
)


def first_not_finite(model: Detector, image: Tensor) -> str | None:
    """A sentence that names the first layer, in the order of execution, whose output is not finite.

    Args:
        model: the model as it ran.
        image: (1, 3, H, W), on the model's device and of its number type.

    Returns:
        None if every layer's output is finite.
    """
    if not bool(torch.isfinite(image).all()):
        return "the image itself is not finite"
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(_described(name, module, inputs[0], output))

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


def _described(name: str, module: nn.Module, given: Tensor, output: Tensor) -> str:
    count = int(output.numel() - torch.isfinite(output).sum())
    values = f"{count:,} of {output.numel():,} values"
    text = f"the first layer whose output is not finite is {name} ({type(module).__name__}), {values}"
    weights = [key for key, value in module.state_dict().items() if not bool(torch.isfinite(value).all())]
    if weights:
        return f"{text}, because its {' and '.join(weights)} is not finite once BatchNorm is folded into it"
    return f"{text}; its input has values up to {float(given.abs().max()):.3g}"
