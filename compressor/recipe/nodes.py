"""YAML text as a tree of values that know their place, and nothing of YAML 1.1's surprises."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from compressor.errors import Diagnostic

Scalar = str | int | float | bool | None
Plain = dict[str, "Plain"] | list["Plain"] | Scalar


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file with 1-based line and column, or a command-line flag."""

    path: str
    line: int | None = None
    column: int | None = None

    def diagnostic(self, code: str, message: str, help_text: str | None = None) -> Diagnostic:
        """A fault at this place."""
        return Diagnostic(code, message, self.path, self.line, self.column, help_text)


@dataclass(frozen=True)
class Node:
    """A value and its place. `keys` holds the places of a mapping's keys."""

    value: dict[str, Node] | list[Node] | Scalar
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)

    def plain(self) -> Plain:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> Place:
        """The place of the value at `path`, or of the nearest enclosing value that was written."""
        for end in range(len(path), 0, -1):
            node = self.subtree(path[:end])
            if node is not None:
                return node.place
        return self.place

    def find_key(self, path: tuple[str | int, ...]) -> Place:
        """The place of the key that `path` ends in, rather than of its value."""
        parent = self.subtree(path[:-1])
        return parent.keys.get(str(path[-1]), parent.place) if parent else self.find(path)

    def subtree(self, path: tuple[str | int, ...]) -> Node | None:
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


def parse(text: str, path: str, faults: list[Diagnostic]) -> Node:
    """YAML text to nodes. Faults are appended; what can still be read is returned.

    Args:
        text: a YAML document.
        path: the file's name, or a flag such as `--set`.
        faults: R100 syntax, R104 wrong key type, R106 duplicate key, R107 a YAML 1.1 surprise.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
        problem = fault.problem or fault.context or ""
        faults.append(place.diagnostic("R100", f"not valid YAML: {problem}", _syntax_help(problem)))
        return Node(None, place)
    except yaml.reader.ReaderError as fault:
        place = _place_of(fault.position, text, path)
        letter = f"the character U+{ord(text[fault.position]):04X} is not allowed"
        faults.append(place.diagnostic("R100", f"not valid YAML: {letter}", "take it out"))
        return Node(None, place)
    except RecursionError:
        place = Place(path, 1, 1)
        faults.append(place.diagnostic("R100", "not valid YAML: nested too deep", "a recipe needs a handful of levels"))
        return Node(None, place)
    if root is None:
        return Node(None, Place(path, 1, 1))
    return _Reader(path, faults).read(root)


def _syntax_help(problem: str) -> str | None:
    """How to mend the faults people make most."""
    for sign, help_text in _SYNTAX_HELP.items():
        if sign in problem:
            return help_text
    return None


_SYNTAX_HELP = {
    "'\\t'": "indent with spaces; YAML allows no tabs",
    "mapping values are not allowed": "a value that holds a colon needs quotes, and nested keys a line of their own",
    "'*'": 'a value that starts with * needs quotes: "*"',
    "alphabetic or numeric character": 'a value that starts with * or & needs quotes: "*"',
    "found undefined alias": 'a value that starts with * needs quotes: "*.conv"',
    "expected <block end>": "lines of one list or mapping start in the same column",
    "<stream end>": "a bracket, brace or quote is not closed",
    "end of stream": "a bracket, brace or quote is not closed",
    "expected a single document": "a recipe is one document; take the line --- out",
}


def _place_of(position: int, text: str, path: str) -> Place:
    before = text[:position]
    return Place(path, before.count("\n") + 1, position - before.rfind("\n"))


class _Reader:
    """Turns composed YAML into nodes, for one file."""

    def __init__(self, path: str, faults: list[Diagnostic]) -> None:
        self.path = path
        self.faults = faults
        self.open: list[yaml.Node] = []  # the nodes being read, outermost first
        self.nodes = 0

    def read(self, node: yaml.Node) -> Node:
        place = Place(self.path, node.start_mark.line + 1, node.start_mark.column + 1)
        self.nodes += 1
        if node in self.open or self.nodes > 10_000 or len(self.open) > 50:
            self.faults.append(place.diagnostic("R100", "the document is nested in itself, too deep or too large"))
            return Node(None, place)
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return Node([self.read(item) for item in node.value], place)
            assert isinstance(node, yaml.ScalarNode)  # YAML has no fourth kind
            return Node(self._scalar(node, place), place)
        finally:
            self.open.pop()

    def _mapping(self, node: yaml.MappingNode, place: Place) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key_place = Place(self.path, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                help_text = "write plain keys; to share values use `variables`, to share parts `extends`"
                self.faults.append(key_place.diagnostic("R104", "a key must be plain text", help_text))
                continue
            if key in values:
                message = f"the key {key!r} is written twice (first on line {keys[key].line})"
                self.faults.append(key_place.diagnostic("R106", message, "keep one of the two"))
                continue
            values[key], keys[key] = self.read(value_node), key_place
        return Node(values, place, keys)

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar:
        text = str(node.value)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        surprise = _surprise(kind, text, quoted=node.style is not None)
        if surprise:
            message, help_text = surprise
            self.faults.append(place.diagnostic("R107", message, help_text))
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() in ("true", "yes", "on")
            case "int" | "float" if len(text) > _LONGEST_NUMBER:
                return 0
            case "int" if _INT.fullmatch(text):
                return int(text)
            case "float" if _FLOAT.fullmatch(text):
                return float(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan")) if _SPECIAL(text) else text
            case _:
                return text.encode("utf-8", "replace").decode() if surprise else text


_LONGEST_NUMBER = 300  # digits
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
_SPECIAL = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE).fullmatch


def _surprise(kind: str, text: str, *, quoted: bool) -> tuple[str, str] | None:
    """What and how to mend, where YAML 1.1 reads a value otherwise than its writer meant; else None."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "the text holds half of a surrogate pair", "write the letter itself"
    if quoted:
        return None
    match kind:
        case "int" | "float" if len(text) > _LONGEST_NUMBER:
            return "a number this long cannot be meant", "write fewer digits"
        case "bool" if text.lower() not in ("true", "false"):
            return f"YAML reads {text} as a truth value", f'write true or false, or "{text}" in quotes for text'
        case "int" if not _INT.fullmatch(text):
            return f"YAML reads {text} in its own way", "write a plain decimal number, or quote it for text"
        case "float" if not _FLOAT.fullmatch(text) and not _SPECIAL(text):
            return f"YAML reads {text} in its own way", "write a plain decimal number, or quote it for text"
        case "str" if _EXPONENT.fullmatch(text):
            return f"YAML reads {text} as text", f"write it with a decimal point: {_with_point(text)}"
        case "str" | "bool" | "int" | "float" | "null":
            return None
        case "timestamp":
            return f"YAML reads {text} as a date", f'write "{text}" in quotes'
        case _:
            return f"the YAML tag !{kind} is not allowed", "write a plain value"


def _with_point(text: str) -> str:
    """`1e-3` as YAML 1.1 reads a number: `1.0e-3`."""
    mantissa, _, exponent = text.lower().partition("e")
    point = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{point}e{exponent if exponent[0] in '+-' else '+' + exponent}"
