"""YAML text as a tree of values that know their place, and nothing of YAML 1.1's surprises."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import yaml

from compressor.errors import Diagnostic
from compressor.printable import printable
from compressor.recipe.scalars import NO_LETTER, Scalar, scalar, tag_of
from compressor.recipe.syntax import complaint

Plain = dict[str, "Plain"] | list["Plain"] | Scalar
Location = tuple[str | int, ...]  # keys and list positions, such as ("modifiers", 0, "sparsity")

UNKNOWN = "\uffff"  # stands for a value whose fault is told already; no recipe can hold this code

_MOST_NODES = 10_000
_DEEPEST = 50
_LONGEST_MESSAGE = 400  # characters
_LONGEST_VALUE = 60  # characters of a value within a message
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file with 1-based line and column, or a command-line flag."""

    path: str
    line: int | None = None
    column: int | None = None

    def diagnostic(self, code: str, message: str, help_text: str | None = None) -> Diagnostic:
        """A fault at this place; however long or odd a value in its text, it stays one line to read."""
        help_text = help_text and _in_a_line(help_text)
        return Diagnostic(code, _in_a_line(message), self.path, self.line, self.column, help_text)


@dataclass(frozen=True)
class Node:
    """A value and its place.

    Attributes:
        value: what was written.
        place: where.
        keys: the places of a mapping's keys.
        written: the text with `${...}` that the value was made from; None where it stands as it was written.
    """

    value: dict[str, Node] | list[Node] | Scalar
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    written: str | None = None

    def plain(self) -> Plain:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: Location) -> Place:
        """The place of the value at `path`, or of the nearest enclosing value that was written."""
        for end in range(len(path), 0, -1):
            node = self.subtree(path[:end])
            if node is not None:
                return node.place
        return self.place

    def find_key(self, path: Location) -> Place:
        """The place of the key that `path` ends in, rather than of its value."""
        parent = self.subtree(path[:-1])
        return parent.keys.get(str(path[-1]), parent.place) if parent else self.find(path)

    def subtree(self, path: Location) -> Node | None:
        """The node at `path`, or None where nothing was written."""
        node = self
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                node = node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                return None
        return node


class Lines:
    """Where the letters of a text stand in an editor, which knows fewer line breaks than YAML 1.1."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.starts = [0, *(found.end() for found in re.finditer(r"\r\n?|\n", text))]

    def place(self, index: int) -> Place:
        """The place of the letter at `index`."""
        row = bisect_right(self.starts, index) - 1
        return Place(self.path, row + 1, index - self.starts[row] + 1)

    def rest(self, index: int) -> str:
        """What stands from `index` to the end of its line."""
        return re.split(r"[\r\n]", self.text[index : index + 1000], maxsplit=1)[0]


def dotted(location: Location) -> str:
    """`('modifiers', 0, 'sparsity', 're:x')` as `modifiers[0].sparsity['re:x']`."""
    text = ""
    for part in location:
        is_word = isinstance(part, str) and _WORD.fullmatch(part)
        text += (f".{part}" if text else str(part)) if is_word else f"[{part!r}]"
    return text


def shortened(text: str, longest: int = _LONGEST_VALUE) -> str:
    """The text, or its start and end where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def show(value: Any) -> str:
    """A value in the words of YAML rather than of Python."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {shortened(value)!r}"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case float() if not math.isfinite(value):
            return f"{value:+}".replace("+", "").replace("inf", ".inf").replace("nan", ".nan")
        case _:
            return shortened(f"{value}")


def _in_a_line(text: str) -> str:
    return printable(shortened(text, _LONGEST_MESSAGE))


def parse(text: str, path: str, faults: list[Diagnostic], location: Location = ()) -> Node:
    """YAML text to nodes. Faults are appended; what can still be read is returned, with UNKNOWN for the rest.

    Args:
        text: a YAML document.
        path: the file's name, or a flag such as `--set`.
        faults: R100 syntax, R104 no value or a key that is none, R106 duplicate key, R107 a YAML 1.1 surprise.
        location: where in a recipe the text belongs.
    """
    lines = Lines(text, path)
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Node(None, Place(path, 1, 1)) if root is None else _Reader(lines, faults).read(root, location)
    except yaml.MarkedYAMLError as fault:
        told = complaint(fault)
        place = lines.place(told.mark.index) if told.mark else Place(path)
        faults.append(place.diagnostic("R100", f"not valid YAML: {told.message}", told.help))
    except yaml.reader.ReaderError as fault:
        place = lines.place(fault.position)
        letter = f"the character U+{ord(text[fault.position]):04X} is not allowed"
        faults.append(place.diagnostic("R100", f"not valid YAML: {letter}", "take it out; a recipe is plain text"))
    except (ValueError, OverflowError):  # an escape or a version with a number that PyYAML does not check
        place = lines.place(loader.get_mark().index) if loader else Place(path, 1, 1)
        faults.append(place.diagnostic("R100", "not valid YAML: a number is out of range", "write the letter itself"))
    except _TooMuchError as fault:
        place = lines.place(fault.mark.index)
        faults.append(place.diagnostic("R100", fault.message, "write out what is needed and take out the rest"))
    return Node(None, place)


class _TooMuchError(Exception):
    """A document that no recipe needs to be, at `mark`."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """Composes one document, and gives up on one that is too large or too deep before it costs time."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = 0
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # of PyYAML's stubs
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise _TooMuchError(f"the recipe holds more than {_MOST_NODES:,} values", mark)
        if self.depth == _DEEPEST:
            raise _TooMuchError(f"the recipe is nested more than {_DEEPEST} deep", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Turns composed YAML into nodes, for one file."""

    def __init__(self, lines: Lines, faults: list[Diagnostic]) -> None:
        self.lines = lines
        self.faults = faults
        self.open: list[yaml.Node] = []  # the nodes being read, outermost first
        self.nodes = 0  # with every use of an alias

    def read(self, node: yaml.Node, location: Location) -> Node:
        """The node with its places; `location` is where it stands in the recipe."""
        place = self._place(node)
        self.nodes += 1
        if node in self.open:
            raise _TooMuchError("the recipe holds an alias within what it stands for", node.start_mark)
        if self.nodes > _MOST_NODES or len(self.open) == _DEEPEST:
            furthest = max((outer.start_mark for outer in self.open), key=lambda mark: mark.index)
            size = f"holds more than {_MOST_NODES:,} values" if self.nodes > _MOST_NODES else "is nested too deep"
            raise _TooMuchError(f"with its aliases written out the recipe {size}", furthest)
        self.open.append(node)
        tag = tag_of(node)
        if tag:
            self._fault(place, "R107", f"the YAML tag {shortened(tag)} is not allowed", "write a plain value")
        match node:
            case yaml.MappingNode():
                value = self._mapping(node, place, location)
            case yaml.SequenceNode():
                value = Node([self.read(item, (*location, index)) for index, item in enumerate(node.value)], place)
            case _:
                assert isinstance(node, yaml.ScalarNode)  # YAML has no fourth kind
                value = Node(UNKNOWN, place) if tag else self._scalar(node, place, location)
        self.open.pop()
        return Node(UNKNOWN, place) if tag else value

    def _scalar(self, node: yaml.ScalarNode, place: Place, location: Location) -> Node:
        if node.value == "" and node.style is None and location:
            self._fault(place, "R104", f"{dotted(location)} has no value", self._no_value_help(node, location))
            return Node(UNKNOWN, place)
        value, surprise = scalar(node)
        if surprise:
            self._fault(place, "R107", *surprise)
        return Node(UNKNOWN if surprise else value, place)

    def _mapping(self, node: yaml.MappingNode, place: Place, location: Location) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key, key_place = key_node.value, self._place(key_node)
            refused = _no_key(key_node)
            if refused:
                self._fault(key_place, "R104", *refused)
                values[UNKNOWN] = Node(UNKNOWN, key_place)  # stands for whatever was meant
            elif key in values:
                message = f"the key {shortened(key)!r} is written twice (first on line {keys[key].line})"
                self._fault(key_place, "R106", message, "keep one of the two")
            else:
                values[key], keys[key] = self.read(value_node, (*location, key)), key_place
        return Node(values, place, keys)

    def _no_value_help(self, node: yaml.ScalarNode, location: Location) -> str:
        if self.lines.rest(node.start_mark.index).lstrip().startswith("#"):
            return "what follows # is a comment; if it is the value, put it in quotes"
        if isinstance(location[-1], str) and ":" in location[-1]:
            return "write a space after the colon"
        if isinstance(location[-1], int):
            return "write the entry after its dash, or take the dash out"
        return "write a value here or indented below, or take the key out"

    def _place(self, node: yaml.Node) -> Place:
        return self.lines.place(node.start_mark.index)

    def _fault(self, place: Place, code: str, message: str, help_text: str) -> None:
        self.faults.append(place.diagnostic(code, message, help_text))


def _no_key(node: yaml.Node) -> tuple[str, str] | None:
    """What a key's text is not, and how to mend it; None for a plain key."""
    share = "to share values use `variables`, to share parts `extends`"
    if not isinstance(node, yaml.ScalarNode):
        return "a key must be plain text", f"write plain keys; {share}"
    if node.tag == "tag:yaml.org,2002:merge":
        return "merge keys (<<) are not read", f"write the keys out; {share}"
    if tag_of(node):
        return "a key cannot have a YAML tag", "write the key alone"
    if "${" in node.value:
        return f"the key {shortened(node.value)!r} is not filled in: variables are for values", "write the key out"
    if NO_LETTER.search(node.value):
        return "the key holds a code that is no character", "write the letter itself"
    return None
