"""Whether a recipe is right and fits the stock YOLOv5 networks, told without weights and without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compressor.errors import Diagnostic
from compressor.models.convolution import Convolution
from compressor.models.stock import every_released, released
from compressor.plan.targets import endless, matches, misfits, unmatched
from compressor.recipe.load import Draft, in_file_order, read_draft
from compressor.recipe.modifiers import Modifier, Repair, is_budget
from compressor.recipe.nodes import Node, Place
from compressor.recipe.overrides import Override
from compressor.recipe.schema import MOST_MODIFIERS, Recipe
from compressor.recipe.targets import GlobEntry, RegexEntry, entry_text, parse_entry

_MODIFIER: TypeAdapter[Modifier] = TypeAdapter(Modifier)


def stock_misfits(draft: Draft) -> list[Diagnostic]:
    """What `targeted` would say of a recipe on the stock network that suits it best.

    Weights named like a release, such as `yolov5x.pt`, are that size of the last releases. A recipe for any checkpoint
    is tried on every stock network. A checkpoint of another name may be of any architecture, so patterns on its
    layers' names are not judged.

    Args:
        draft: a recipe, right or wrong; of a modifier that is itself at fault only the single entries are judged.
    """
    weights = draft.root.subtree(("model", "weights"))
    name = Path(str(weights.value)).name if weights and weights.value else None
    stock = released(name) if name else None
    custom = name is not None and stock is None
    fewest: int | None = None
    best: tuple[Convolution, ...] = ()
    for convolutions in (stock,) if stock else every_released():
        count = len(_misfits(draft, convolutions, custom=custom, suggest=False))
        if count == 0:
            return []
        if fewest is None or count < fewest:
            fewest, best = count, convolutions
    return _misfits(draft, best, custom=custom, suggest=True)


def _misfits(draft: Draft, convolutions: tuple[Convolution, ...], *, custom: bool, suggest: bool) -> list[Diagnostic]:
    modifiers = draft.root.subtree(("modifiers",))
    nodes = modifiers.value[:MOST_MODIFIERS] if modifiers and isinstance(modifiers.value, list) else []
    faults: list[Diagnostic] = []
    earlier: dict[int, Modifier] = {}
    for index, node in enumerate(nodes):
        modifier = _valid(node)
        twins = [i for i, other in earlier.items() if other == modifier]
        if isinstance(modifier, Repair):
            faults += _nothing_to_repair(nodes, index)
            twins = [i for i in twins if i == index - 1]  # what is repaired again after another step may differ
        if modifier is not None and twins:
            message = f"modifiers[{index}] makes no difference: it is the same as modifiers[{twins[0]}]"
            faults.append(node.place.diagnostic("P205", message, "take one of the two out"))
        if modifier is not None:
            earlier[index] = modifier
            if twins:  # what it names is judged already
                continue
        entries = _entries(node)
        if modifier is None or (custom and any(entry.names_layers for entry in entries)):
            known = [entry for entry in entries if not (custom and entry.names_layers)]
            faults += _unmatched(known, convolutions, suggest=suggest)
        else:
            faults += misfits(convolutions, modifier, index, draft, suggest=suggest)
    return faults


def _nothing_to_repair(nodes: list[Node], index: int) -> Iterator[Diagnostic]:
    """P205 where every modifier before a repair is one too."""
    kinds = [node.subtree(("type",)) for node in nodes[:index]]
    if all(kind is not None and kind.value == "repair" for kind in kinds):
        message = f"modifiers[{index}] makes no difference: nothing is pruned before it"
        yield nodes[index].place.diagnostic("P205", message, "write it after the prune whose loss it is to repair")


def _unmatched(entries: list[_Entry], convolutions: tuple[Convolution, ...], *, suggest: bool) -> list[Diagnostic]:
    faults = []
    for entry in entries:
        try:
            if not any(matches(entry.text, convolution) for convolution in convolutions):
                faults.append(unmatched(entry.text, convolutions, entry.place, suggest=suggest))
        except TimeoutError:
            faults.append(endless(entry.place))
    return faults


def _valid(node: Node) -> Modifier | None:
    try:
        return _MODIFIER.validate_python(node.plain())
    except ValidationError:
        return None


@dataclass(frozen=True)
class _Entry:
    """One well-formed entry and where it stands."""

    text: str
    place: Place

    @property
    def names_layers(self) -> bool:
        """Whether it is a pattern on layer names; a word without dots is rather a slip of a role or a type."""
        match parse_entry(self.text):
            case RegexEntry():
                return True
            case GlobEntry(glob):
                return bool(glob.strip("*")) and bool(set(".*?[") & set(glob))
            case _:
                return False


def _entries(node: Node) -> list[_Entry]:
    """What a modifier names in `targets`, `ignore` and the keys of `sparsity`, as far as it is well formed."""
    found: list[tuple[Any, Place]] = []
    for key in ("targets", "ignore"):
        entries = node.subtree((key,))
        if entries and isinstance(entries.value, list):
            found += [(entry.plain(), entry.place) for entry in entries.value]
    sparsity = node.subtree(("sparsity",))
    found += sparsity.keys.items() if sparsity and not is_budget(sparsity.plain()) else ()
    return [_Entry(text, place) for value, place in found if (text := entry_text(value)) is not None]


@dataclass(frozen=True)
class Checked:
    """What was found out about one recipe.

    Attributes:
        path: the file, as it was named.
        recipe: the resolved recipe; None where anything is at fault.
        faults: everything found (R1xx, P2xx), in file order.
    """

    path: str
    recipe: Recipe | None
    faults: tuple[Diagnostic, ...]


def check_recipe(path: Path, overrides: tuple[Override, ...] = ()) -> Checked:
    """Everything that can be said of a recipe without its weights.

    Args:
        path: the recipe's YAML file.
        overrides: what the command line says instead.
    """
    draft = read_draft(path, overrides)
    found = in_file_order([*draft.faults, *stock_misfits(draft)])
    # what is extended on two ways, or repeated by a YAML alias, would tell its faults twice
    faults = tuple(dict.fromkeys(found))
    return Checked(path.as_posix(), None if faults else draft.recipe, faults)
