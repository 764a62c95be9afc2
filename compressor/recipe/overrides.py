"""What the command line says instead of the recipe, checked like the file."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.errors import Diagnostic, RecipeError
from compressor.recipe.nodes import UNKNOWN, Location, Node, Place, dotted, parse, shortened
from compressor.recipe.scalars import NO_LETTER
from compressor.recipe.variables import escaped

_LONGEST_FLAG = 200  # characters of a flag in a message
_DEEPEST = 50  # keys and positions of a path
_LONGEST_POSITION = 9  # digits


@dataclass(frozen=True)
class Override:
    """One value from the command line.

    Attributes:
        path: keys and list positions, such as `("modifiers", 0, "sparsity")`.
        value: the value as written.
        flag: the flag as the user typed it; named in errors.
        literal: take `value` as text rather than as YAML.
    """

    path: Location
    value: str
    flag: str
    literal: bool = False


def parse_set(argument: str, flag: str = "--set") -> Override:
    """`modifiers.0.sparsity=0.5` to an override; `flag` is named in errors.

    Raises:
        RecipeError: R110 the argument is not path=value.
    """
    path, equals, value = argument.partition("=")
    parts = [part.strip() for part in path.split(".")]
    place = Place(shortened(f"{flag} {argument}", _LONGEST_FLAG))
    if not equals or not all(parts):
        help_text = "write a path of keys and positions, an equals sign and a value: modifiers.0.sparsity=0.5"
        raise RecipeError(place.diagnostic("R110", "not of the form path=value", help_text))
    if not value.strip():
        help_text = 'write a value after the equals sign, or "" for a text without letters'
        raise RecipeError(place.diagnostic("R110", f"no value for {shortened(path.strip())}", help_text))
    if len(parts) > _DEEPEST:
        raise RecipeError(place.diagnostic("R110", "no key of a recipe lies this deep", "write a shorter path"))
    return Override(tuple(int(part) if _is_position(part) else part for part in parts), value, place.path)


def _is_position(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= _LONGEST_POSITION


def apply_override(root: Node, override: Override, faults: list[Diagnostic]) -> Node:
    """`root` with one value replaced or added; a path that leads nowhere is appended to `faults` (R110)."""
    place = Place(override.flag)
    if override.path[0] == "extends":
        message = "what a recipe extends stands in its file and cannot be set here"
        faults.append(place.diagnostic("R110", message, "change the file, or copy it"))
        return root
    if override.literal and NO_LETTER.search(override.value):
        faults.append(place.diagnostic("R110", "the name is not text", "rename the file"))
        return root
    if override.literal:
        value = Node(escaped(override.value), place)  # a path, in which nothing is filled in
    else:
        found: list[Diagnostic] = []
        value = _at(parse(override.value, override.flag, found, override.path), place)
        if not found and override.value.lstrip().startswith("#"):
            found.append(place.diagnostic("R110", "no value: what follows # is a comment", "put it in quotes"))
        if found and value.value is None:  # nothing could be read
            value = Node(UNKNOWN, place)
        faults += [Diagnostic(fault.code, fault.message, override.flag, help=fault.help) for fault in found]
    return _replaced(root, override.path, value, place, faults)


def _replaced(node: Node, path: Location, value: Node, place: Place, faults: list[Diagnostic], done: int = 0) -> Node:
    """`node` with `value` at `path`, of which the first `done` steps lead to `node`."""
    if done == len(path):
        return value
    head = path[done]
    if isinstance(node.value, list):
        if not isinstance(head, int) or head >= len(node.value):
            message = (
                f"there is no position {shortened(str(head))} in a list of {len(node.value)} (positions count from 0)"
            )
            faults.append(place.diagnostic("R110", message, _positions(path[:done], len(node.value))))
            return node
        items = list(node.value)
        items[head] = _replaced(items[head], path, value, place, faults, done + 1)
        return Node(items, node.place)
    if not isinstance(node.value, dict) and node.value not in (None, UNKNOWN):
        message = f"{dotted(path[:done])} is a single value and holds no key {shortened(str(head))!r}"
        faults.append(place.diagnostic("R110", message, f"set all of it: --set {_typed(path[:done])}=..."))
        return node
    mapping = dict(node.value) if isinstance(node.value, dict) else {}
    key = str(head)
    mapping[key] = _replaced(mapping.get(key, Node(None, place)), path, value, place, faults, done + 1)
    is_last = done + 1 == len(path)
    return Node(mapping, node.place, {**node.keys, key: place if is_last else node.keys.get(key, place)})


def _typed(path: Location) -> str:
    """A path as it is typed on the command line."""
    return ".".join(map(str, path))


def _positions(path: Location, count: int) -> str:
    name = _typed(path)
    return f"the last one is {name}.{count - 1}" if count else f"{name} is empty; an override adds no entry to a list"


def _at(node: Node, place: Place) -> Node:
    """The same values, all placed at the flag they came from."""
    if isinstance(node.value, dict):
        return Node({k: _at(v, place) for k, v in node.value.items()}, place, dict.fromkeys(node.value, place))
    if isinstance(node.value, list):
        return Node([_at(item, place) for item in node.value], place)
    return Node(node.value, place)
