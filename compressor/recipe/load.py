"""A recipe file, what it extends, and the command line's overrides become one checked recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from compressor.errors import Diagnostic, RecipeError, did_you_mean
from compressor.recipe.messages import explain
from compressor.recipe.nodes import Node, Place, parse
from compressor.recipe.overrides import Override, apply_override
from compressor.recipe.schema import Part, Recipe

PartT = TypeVar("PartT", bound=Part)


@dataclass(frozen=True)
class RecipeFile:
    """A checked recipe that still knows where each value was written.

    Attributes:
        recipe: the resolved recipe.
        path: the file it was read from.
        root: its values with their places.
    """

    recipe: Recipe
    path: Path
    root: Node

    @property
    def name(self) -> str:
        """The file's name without its ending; names the run folder."""
        return self.path.stem

    def place(self, *location: str | int) -> Place:
        """Where the value at `location` was written, or the nearest value around it."""
        return self.root.find(location)


def load_recipe(path: Path, overrides: tuple[Override, ...] = ()) -> RecipeFile:
    """Read, merge and check a recipe.

    Args:
        path: the recipe's YAML file.
        overrides: what the command line says instead, in order; the last wins.

    Raises:
        RecipeError: every fault found (R1xx), in file order.
    """
    faults: list[Diagnostic] = []
    root = _read(path, faults, opened=())
    for override in overrides:
        root = apply_override(root, override, faults)
    recipe = None if root.value is None else _check(root, faults)
    if faults or recipe is None:
        raise RecipeError(*_in_file_order(faults))
    return RecipeFile(recipe, path, root)


def check_part(part: type[PartT], values: dict[str, Any]) -> PartT:
    """One section of a recipe from command-line options named like its keys.

    Raises:
        RecipeError: a value is out of range; the option is named as the place.
    """
    nodes = {key: Node(value, Place(f"--{key.replace('_', '-')}")) for key, value in values.items()}
    root = Node(nodes, Place("the command line"))
    try:
        return part.model_validate(values)
    except ValidationError as error:
        raise RecipeError(*explain(error, root)) from error


def _read(path: Path, faults: list[Diagnostic], opened: tuple[Path, ...]) -> Node:
    """One file merged over the files it extends."""
    place = Place(path.as_posix())
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        faults.append(place.diagnostic("R100", "the recipe is not UTF-8 text", "save it as UTF-8"))
        return Node(None, place)
    except OSError as fault:
        near = did_you_mean(path.name, _recipes_beside(path))
        faults.append(place.diagnostic("R108", f"cannot read the recipe: {fault.strerror or fault}", near))
        return Node(None, place)
    node = parse(text, path.as_posix(), faults)
    if node.value is None and not faults:
        faults.append(node.place.diagnostic("R113", "the recipe is empty", "start with version: 1 and modifiers:"))
    if not isinstance(node.value, dict):
        if node.value is not None:
            faults.append(node.place.diagnostic("R104", "a recipe must be a mapping of keys to values"))
        return Node(None, node.place)
    return _extended(node, path, faults, (*opened, path.resolve()))


def _extended(node: Node, path: Path, faults: list[Diagnostic], opened: tuple[Path, ...]) -> Node:
    """`node` without its `extends` key, merged over what that key names."""
    assert isinstance(node.value, dict)
    extends = node.value.get("extends")
    values = {key: value for key, value in node.value.items() if key != "extends"}
    own = Node(values, node.place, node.keys)
    if extends is None:
        return own
    merged: Node | None = None
    for entry in extends.value if isinstance(extends.value, list) else [extends]:
        if not isinstance(entry.value, str):
            faults.append(entry.place.diagnostic("R109", "extends must name a recipe file, or a list of them"))
            continue
        target = path.parent / entry.value
        if target.resolve() in opened:
            chain = " -> ".join(p.name for p in (*opened, target))
            faults.append(entry.place.diagnostic("R109", f"the recipe extends itself: {chain}"))
            continue
        if not target.is_file():
            near = did_you_mean(target.name, _recipes_beside(target))
            message = f"extends names {entry.value!r}, and there is no such file beside {path.name}"
            faults.append(entry.place.diagnostic("R109", message, near))
            continue
        base = _read(target, faults, opened)
        merged = base if merged is None else merge(merged, base)
    return own if merged is None else merge(merged, own)


def _recipes_beside(path: Path) -> list[str]:
    return [other.name for other in path.parent.glob("*.yaml") if other.is_file()]


def merge(base: Node, top: Node) -> Node:
    """`top` over `base`: mappings merge key by key, everything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)):
        return base if top.value is None and isinstance(base.value, dict) else top
    values = dict(base.value)
    for key, node in top.value.items():
        values[key] = merge(values[key], node) if key in values else node
    return Node(values, top.place, {**base.keys, **top.keys})


def _check(root: Node, faults: list[Diagnostic]) -> Recipe | None:
    try:
        return Recipe.model_validate(root.plain())
    except ValidationError as error:
        known = {(fault.path, fault.line, fault.column) for fault in faults}
        found = explain(error, root)
        faults += [fault for fault in found if (fault.path, fault.line, fault.column) not in known]
        return None


def _in_file_order(faults: list[Diagnostic]) -> list[Diagnostic]:
    files = list(dict.fromkeys(fault.path for fault in faults))
    return sorted(faults, key=lambda fault: (files.index(fault.path), fault.line or 0, fault.column or 0))
