"""What the command line says instead of the recipe, checked like the file."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.errors import Diagnostic, RecipeError
from compressor.recipe.nodes import Node, Place, parse


@dataclass(frozen=True)
class Override:
    """One value from the command line.

    Attributes:
        path: keys and list positions, such as `("modifiers", 0, "sparsity")`.
        value: the value as written.
        flag: the flag as the user typed it; named in errors.
        literal: take `value` as text rather than as YAML.
    """

    path: tuple[str | int, ...]
    value: str
    flag: str
    literal: bool = False


def parse_set(argument: str) -> Override:
    """`modifiers.0.sparsity=0.5` to an override.

    Raises:
        RecipeError: R110 the argument is not path=value.
    """
    path, equals, value = argument.partition("=")
    parts = [part.strip() for part in path.split(".")]
    flag = f"--set {argument}"
    if not equals or not all(parts):
        help_text = "write a path of keys and positions, an equals sign and a value: modifiers.0.sparsity=0.5"
        raise RecipeError(Diagnostic("R110", "not of the form path=value", flag, help=help_text))
    return Override(tuple(int(part) if part.isascii() and part.isdecimal() else part for part in parts), value, flag)


def apply_override(root: Node, override: Override, faults: list[Diagnostic]) -> Node:
    """`root` with one value replaced or added; a path that leads nowhere is appended to `faults` (R110)."""
    place = Place(override.flag)
    if override.path[0] == "extends":
        faults.append(place.diagnostic("R110", "what a recipe extends stands in its file and cannot be set here"))
        return root
    if override.literal:
        value = Node(override.value.replace("${", "$${"), place)  # a path, in which nothing is filled in
    else:
        found: list[Diagnostic] = []
        value = _at(parse(override.value, override.flag, found), place)
        faults += [Diagnostic(fault.code, fault.message, override.flag, help=fault.help) for fault in found]
    return _replaced(root, override.path, value, place, faults)


def _replaced(node: Node, path: tuple[str | int, ...], value: Node, place: Place, faults: list[Diagnostic]) -> Node:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node.value, list):
        if not isinstance(head, int) or head >= len(node.value):
            message = f"there is no position {head} in a list of {len(node.value)} (positions count from 0)"
            faults.append(place.diagnostic("R110", message))
            return node
        items = list(node.value)
        items[head] = _replaced(items[head], rest, value, place, faults)
        return Node(items, node.place)
    mapping = dict(node.value) if isinstance(node.value, dict) else {}
    key = str(head)
    mapping[key] = _replaced(mapping.get(key, Node(None, place)), rest, value, place, faults)
    return Node(mapping, node.place, {**node.keys, key: node.keys.get(key, place) if rest else place})


def _at(node: Node, place: Place) -> Node:
    """The same values, all placed at the flag they came from."""
    if isinstance(node.value, dict):
        return Node({k: _at(v, place) for k, v in node.value.items()}, place, dict.fromkeys(node.value, place))
    if isinstance(node.value, list):
        return Node([_at(item, place) for item in node.value], place)
    return Node(node.value, place)
