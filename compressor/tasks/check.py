"""Whether a recipe is right and fits the stock networks, without weights and without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from compressor.errors import Diagnostic
from compressor.models.convolution import Convolution
from compressor.models.stock import every_released, released
from compressor.modifiers.steps import needless_twin, resolved
from compressor.plan.outline import Outline
from compressor.plan.targets import Spot, endless, matches, unmatched
from compressor.recipe.load import Draft, in_file_order, read_draft
from compressor.recipe.modifiers import MODIFIERS, Modifier
from compressor.recipe.modifiers.budget import is_budget
from compressor.recipe.modifiers.step import Alters
from compressor.recipe.nodes import Node, Place
from compressor.recipe.overrides import Override
from compressor.recipe.schema import MOST_MODIFIERS, Recipe
from compressor.recipe.targets import GlobEntry, RegexEntry, entry_text, parse_entry

_MODIFIER: TypeAdapter[Modifier] = TypeAdapter(Modifier)


def stock_misfits(draft: Draft) -> list[Diagnostic]:
    """What `steps.resolve` would say of a recipe on the stock network that suits it best.

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
    errors: list[Diagnostic] = []
    earlier: dict[int, Modifier] = {}
    outline = Outline(convolutions, suggest=suggest)
    for index, node in enumerate(nodes):
        modifier, entries, before = _valid(node), _entries(node), outline
        outline = replace(outline, altered=outline.altered | _alters(node, modifier))
        if modifier is not None:
            twin = needless_twin(modifier, index, earlier.items())
            earlier[index] = modifier
            if twin is not None:  # what it names is checked already
                message = f"modifiers[{index}] makes no difference: it is the same as modifiers[{twin}]"
                errors.append(node.place.diagnostic("P205", message, "take one of the two out"))
                continue
        named = custom and any(entry.names_layers for entry in entries)
        if modifier is None or named:
            known = [entry for entry in entries if not (custom and entry.names_layers)]
            errors += _unmatched(known, convolutions, suggest=suggest)
        if modifier is not None:
            found = resolved(modifier, Spot(draft, index), before)[1]
            errors += [each for each in found if each.code == "P205"] if named else found
    return errors


def _alters(node: Node, modifier: Modifier | None) -> frozenset[Alters]:
    """What a modifier alters, even if something is wrong with it; anything, where its kind is not known."""
    if modifier is not None:
        return modifier.alters
    kind = node.subtree(("type",))
    known = MODIFIERS.get(str(kind.value)) if kind is not None else None
    return frozenset(get_args(Alters)) if known is None else known.alters


def _unmatched(entries: list[_Entry], convolutions: tuple[Convolution, ...], *, suggest: bool) -> list[Diagnostic]:
    errors = []
    for entry in entries:
        try:
            if not any(matches(entry.text, convolution) for convolution in convolutions):
                errors.append(unmatched(entry.text, convolutions, entry.place, suggest=suggest))
        except TimeoutError:
            errors.append(endless(entry.place))
    return errors


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
    # what is extended on two ways, or repeated by a YAML alias, would tell its errors twice
    errors = tuple(dict.fromkeys(found))
    return Checked(path.as_posix(), None if errors else draft.recipe, errors)
