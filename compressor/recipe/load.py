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
from compressor.recipe.variables import fill_in

PartT = TypeVar("PartT", bound=Part)

_LARGEST = 1_000_000  # bytes of a recipe file


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

    def key_place(self, *location: str | int) -> Place:
        """Where the key that `location` ends in was written."""
        return self.root.find_key(location)


@dataclass(frozen=True)
class Draft:
    """A recipe as it was written, right or wrong.

    Attributes:
        root: its values with their places, after `extends`, overrides and variables.
        recipe: the resolved recipe; None where something is at fault.
        faults: everything found (R1xx), in file order.
    """

    root: Node
    recipe: Recipe | None
    faults: tuple[Diagnostic, ...]

    def place(self, *location: str | int) -> Place:
        """Where the value at `location` was written, or the nearest value around it."""
        return self.root.find(location)

    def key_place(self, *location: str | int) -> Place:
        """Where the key that `location` ends in was written."""
        return self.root.find_key(location)


def load_recipe(path: Path, overrides: tuple[Override, ...] = ()) -> RecipeFile:
    """Read, merge and check a recipe.

    Args:
        path: the recipe's YAML file.
        overrides: what the command line says instead, in order; the last wins.

    Raises:
        RecipeError: every fault found (R1xx), in file order.
    """
    draft = read_draft(path, overrides)
    if draft.recipe is None:
        raise RecipeError(*draft.faults)
    return RecipeFile(draft.recipe, path, draft.root)


def read_draft(path: Path, overrides: tuple[Override, ...] = ()) -> Draft:
    """As `load_recipe`, for whoever wants to see what a faulty recipe holds."""
    faults: list[Diagnostic] = []
    root = _read(path, faults, opened=())
    if root.value is not None:
        for override in overrides:
            root = apply_override(root, override, faults)
        own = frozenset((path.as_posix(), *(override.flag for override in overrides)))
        root = fill_in(root, own, faults)
    incomplete = any(fault.code in _UNREAD for fault in faults)
    recipe = None if root.value is None else _check(root, faults, incomplete=incomplete)
    return Draft(root, None if faults else recipe, tuple(in_file_order(faults)))


_UNREAD = ("R100", "R108", "R109", "R113")  # a file, or a part of one, could not be read


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
        if path.stat().st_size > _LARGEST:
            message = f"the file holds {path.stat().st_size:,} bytes; a recipe is at most {_LARGEST:,}"
            faults.append(place.diagnostic("R108", message, "name a recipe, not a data file"))
            return Node(None, place)
        data = path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a null byte in the name
        near = did_you_mean(path.name, _recipes_beside(path))
        reason = fault.strerror if isinstance(fault, OSError) else fault
        help_text = near or ("name a file in it" if path.is_dir() else "name a recipe file, such as recipes/demo.yaml")
        faults.append(place.diagnostic("R108", f"cannot read the recipe: {reason}", help_text))
        return Node(None, place)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = data[: fault.start]
        column = fault.start - (before.rfind(b"\n") + 1)
        place = Place(path.as_posix(), before.count(b"\n") + 1, column + 1)
        message = f"the recipe is not UTF-8 text: byte 0x{data[fault.start]:02x}"
        faults.append(place.diagnostic("R100", message, "save it as UTF-8"))
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
    try:
        return [other.name for other in path.parent.glob("*.yaml") if other.is_file()]
    except OSError:
        return []


def merge(base: Node, top: Node) -> Node:
    """`top` over `base`: mappings merge key by key, everything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)):
        return base if top.value is None and isinstance(base.value, dict) else top
    values = dict(base.value)
    for key, node in top.value.items():
        values[key] = merge(values[key], node) if key in values else node
    return Node(values, top.place, {**base.keys, **top.keys})


def _check(root: Node, faults: list[Diagnostic], *, incomplete: bool) -> Recipe | None:
    """The recipe, or None and its faults; what an `incomplete` recipe lacks may stand in what could not be read."""
    try:
        return Recipe.model_validate(root.plain())
    except ValidationError as error:
        known = {(fault.path, fault.line, fault.column) for fault in faults}
        found = [fault for fault in explain(error, root) if (fault.path, fault.line, fault.column) not in known]
        faults += [fault for fault in found if not (incomplete and fault.code == "R102")]
        return None


def in_file_order(faults: list[Diagnostic]) -> list[Diagnostic]:
    """Faults by file, line and column; files in the order in which they are first named."""
    files = list(dict.fromkeys(fault.path for fault in faults))
    return sorted(faults, key=lambda fault: (files.index(fault.path), fault.line or 0, fault.column or 0))
