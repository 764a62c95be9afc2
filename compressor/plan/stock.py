"""Whether a recipe's modifiers fit the stock YOLOv5 networks, told without weights and without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressor.errors import Diagnostic
from compressor.plan.targets import matches, misfits, unmatched
from compressor.recipe.load import Draft
from compressor.recipe.nodes import Node, Place
from compressor.recipe.schema import Modifier
from compressor.recipe.targets import entry_text
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
    best = min(candidates, key=lambda each: len(_misfits(draft, each, custom=custom, suggest=False)))
    return _misfits(draft, best, custom=custom, suggest=True)


@cache
def _stock(generation: Generation, size: str) -> tuple[Convolution, ...]:
    return convolutions_of(stock_architecture(generation, size))


def _misfits(draft: Draft, convolutions: tuple[Convolution, ...], *, custom: bool, suggest: bool) -> list[Diagnostic]:
    modifiers = draft.root.subtree(("modifiers",))
    nodes = modifiers.value if modifiers and isinstance(modifiers.value, list) else []
    faults: list[Diagnostic] = []
    for index, node in enumerate(nodes):
        modifier = _valid(node)
        entries = _entries(node)
        if modifier is None or (custom and any(_LAYER_NAME.match(entry.text) for entry in entries)):
            known = [entry for entry in entries if not (custom and _LAYER_NAME.match(entry.text))]
            faults += [
                unmatched(entry.text, convolutions, entry.place, suggest=suggest)
                for entry in known
                if not any(matches(entry.text, convolution) for convolution in convolutions)
            ]
        else:
            faults += misfits(convolutions, modifier, index, draft, suggest=suggest)
    return faults


def _valid(node: Node) -> Modifier | None:
    try:
        return Modifier.model_validate(node.plain())
    except ValidationError:
        return None


@dataclass(frozen=True)
class _Entry:
    """One well-formed entry and where it stands."""

    text: str
    place: Place


def _entries(node: Node) -> list[_Entry]:
    """What a modifier names in `targets`, `ignore` and the keys of `sparsity`, as far as it is well formed."""
    found: list[tuple[Any, Place]] = []
    for key in ("targets", "ignore"):
        entries = node.subtree((key,))
        if entries and isinstance(entries.value, list):
            found += [(entry.plain(), entry.place) for entry in entries.value]
    sparsity = node.subtree(("sparsity",))
    found += sparsity.keys.items() if sparsity else ()
    return [_Entry(text, place) for value, place in found if (text := entry_text(value)) is not None]
