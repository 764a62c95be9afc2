"""Whether a recipe's modifiers fit the stock YOLOv5 networks, told without weights and without torch."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from compressor.errors import Diagnostic
from compressor.plan.targets import matches, misfits, near_entry
from compressor.recipe.load import Draft
from compressor.recipe.nodes import Node
from compressor.recipe.schema import Modifier
from compressor.recipe.targets import is_well_formed
from compressor.yolov5.architecture import Generation, stock_architecture, stock_sizes
from compressor.yolov5.convolutions import Convolution, convolutions_of

_GENERATIONS: tuple[Generation, ...] = ("v6", "v5")
_STOCK_NAME = re.compile(r"yolov5([nsmlx]6?)[.]pt")
_LAYER_NAME = re.compile(r"re:|.*[*?\[.]")  # how a pattern on layer names looks, rather than a role or a type


def stock_misfits(draft: Draft) -> list[Diagnostic]:
    """What `targeted` would say of a recipe on the stock network that suits it best.

    Weights named like a release, such as `yolov5x.pt`, leave two candidates: that size in both generations. A recipe
    for any checkpoint is tried on every stock network. A checkpoint of another name may be of any architecture, so
    patterns on its layers' names are not judged.

    Args:
        draft: a recipe, right or wrong; of a modifier that is itself at fault only the single entries are judged.
    """
    weights = draft.root.subtree(("model", "weights"))
    name = Path(str(weights.value)).name if weights and weights.value else None
    stock = _STOCK_NAME.fullmatch(name) if name else None
    custom = name is not None and stock is None
    candidates = [
        convolutions
        for generation in _GENERATIONS
        for size in stock_sizes(generation)
        if stock is None or size == stock[1]
        for convolutions in (_stock(generation, size),)
    ]
    found = [_misfits(draft, convolutions, custom=custom) for convolutions in candidates]
    return min(found, key=len)


@cache
def _stock(generation: Generation, size: str) -> tuple[Convolution, ...]:
    return convolutions_of(stock_architecture(generation, size))


def _misfits(draft: Draft, convolutions: tuple[Convolution, ...], *, custom: bool) -> list[Diagnostic]:
    modifiers = draft.root.subtree(("modifiers",))
    nodes = modifiers.value if modifiers and isinstance(modifiers.value, list) else []
    faults: list[Diagnostic] = []
    for index, node in enumerate(nodes):
        modifier = _valid(node)
        entries = _entries(node)
        if modifier is None or (custom and any(_LAYER_NAME.match(str(entry.value)) for entry in entries)):
            faults += _unmatched(entries, convolutions, custom=custom)
        else:
            faults += misfits(convolutions, modifier, index, draft)
    return faults


def _valid(node: Node) -> Modifier | None:
    try:
        return Modifier.model_validate(node.plain())
    except ValidationError:
        return None


def _entries(node: Node) -> list[Node]:
    """What a modifier names in `targets`, `ignore` and the keys of `sparsity`."""
    found: list[Node] = []
    for key in ("targets", "ignore"):
        entries = node.subtree((key,))
        found += entries.value if entries and isinstance(entries.value, list) else []
    sparsity = node.subtree(("sparsity",))
    return found + ([Node(key, place) for key, place in sparsity.keys.items()] if sparsity else [])


def _unmatched(entries: list[Node], convolutions: tuple[Convolution, ...], *, custom: bool) -> list[Diagnostic]:
    faults = []
    for entry in entries:
        if not is_well_formed(entry.value) or (custom and _LAYER_NAME.match(str(entry.value))):
            continue
        text = str(entry.value)
        if not any(matches(text, convolution) for convolution in convolutions):
            message = f"{text!r} matches no layer of the model"
            faults.append(entry.place.diagnostic("P201", message, near_entry(text, convolutions)))
    return faults
