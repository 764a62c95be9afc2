"""`variables:` and the `${...}` that use them, resolved before a recipe is checked."""

from __future__ import annotations

import keyword
import re

from compressor.errors import Diagnostic, did_you_mean
from compressor.recipe.arithmetic import Value, evaluate
from compressor.recipe.nodes import UNKNOWN, Node, Place, shortened

_EXPRESSION = re.compile(r"\$\$\{|\$\{([^{}]*)\}")  # $${ is a literal ${
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_TEXT = 10_000  # characters of a text that is filled in
_DEEPEST = 50  # variables made from variables


def fill_in(root: Node, own: frozenset[str], faults: list[Diagnostic]) -> Node:
    """`root` without its `variables`, each `${...}` replaced by its value.

    A value that is one `${...}` and nothing else becomes the number or text it stands for; inside text it is filled
    in as text.

    Args:
        root: the merged recipe.
        own: files and flags whose variables must be used; an extended recipe may offer more than is needed.
        faults: appended are R104 (no name or value a variable can have), R116 (unknown), R117 (not computable),
            R118 (unused) and R119 (circular).
    """
    if not isinstance(root.value, dict):
        return root
    values = {key: node for key, node in root.value.items() if key != "variables"}
    variables = _Variables(root.value.get("variables"), faults)
    filled = variables.filled(Node(values, root.place, root.keys))
    variables.tell_unused(own)
    return filled


def variable_names(root: Node) -> tuple[str, ...]:
    """The names under `variables`, right or wrong, as far as they could be read."""
    node = root.subtree(("variables",))
    return tuple(name for name in node.value if name != UNKNOWN) if node and isinstance(node.value, dict) else ()


def escaped(text: str) -> str:
    """Text as a recipe must write it for nothing in it to be filled in: each `${` as `$${`."""
    return text.replace("${", "$${")


class _UntoldError(Exception):
    """A value depends on something at fault, which is told already."""


class _Variables:
    """The variables of one recipe, evaluated as they are asked for."""

    def __init__(self, node: Node | None, faults: list[Diagnostic]) -> None:
        self.faults = faults
        self.known: dict[str, Node] = {}
        self.values: dict[str, Value] = {}
        self.faulty: set[str] = set()
        self.open: list[str] = []  # being evaluated, outermost first
        self.used: set[str] = set()
        if node is not None and node.value != UNKNOWN:
            self._read(node)

    def _read(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            message = "variables must be a mapping of names to values"
            self._fault(node.place, "R104", message, "write variables: {sparsity: 0.3}")
            return
        for name, value in node.value.items():
            if name == UNKNOWN:
                continue
            if not _NAME.fullmatch(name) or keyword.iskeyword(name):
                place = node.keys.get(name, value.place)
                help_text = "choose another word" if _NAME.fullmatch(name) else "use letters, digits and underscores"
                self._fault(place, "R104", f"{shortened(name)!r} cannot name a variable", help_text)
                continue
            self.known[name] = value
            if value.value == UNKNOWN:
                self.faulty.add(name)
            elif not isinstance(value.value, Value):
                message = f"variables.{name} must be a number, text, true or false"
                self._fault(value.place, "R104", message, f"write one value: {name}: 0.3")
                self.faulty.add(name)

    def filled(self, node: Node) -> Node:
        """`node` with every expression in it replaced."""
        if isinstance(node.value, dict):
            return Node({key: self.filled(value) for key, value in node.value.items()}, node.place, node.keys)
        if isinstance(node.value, list):
            return Node([self.filled(value) for value in node.value], node.place)
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        try:
            return Node(self._text(node.value, node.place), node.place, written=node.value)
        except _UntoldError:
            return Node(UNKNOWN, node.place)

    def tell_unused(self, own: frozenset[str]) -> None:
        """Append a fault for every variable of the recipe's own that nothing uses."""
        used = [name for name in self.known if name in self.used]
        for name, node in self.known.items():
            if name not in self.used and node.place.path in own:
                help_text = did_you_mean(name, used) or f"write ${{{name}}} where it is meant, or take it out"
                self._fault(node.place, "R118", f"the variable {name!r} is used nowhere", help_text)

    def _text(self, text: str, place: Place) -> Value:
        whole = _EXPRESSION.fullmatch(text)
        if whole and whole[1] is not None:
            return self._evaluate(whole[1], place)
        rest = _EXPRESSION.sub(" ", text)  # lest the $ before one and the { after it meet
        if "${" in rest:
            self.used.update(_NAME.findall(text))  # none of them is to blame
            slip = "does not end" if "}" not in rest else "holds braces of its own"
            help_text = "write ${name} or ${2 * name}; for a plain ${ write $${"
            self._fault(place, "R117", f"{shortened(text)!r} has a ${{ that {slip}", help_text)
            raise _UntoldError
        return self._joined(text, place)

    def _joined(self, text: str, place: Place) -> str:
        """The text with its expressions filled in; each that is at fault is told."""
        parts: list[str] = []
        end = faulty = 0
        length = len(text)
        for found in _EXPRESSION.finditer(text):
            try:
                part = "${" if found[1] is None else _plain(self._evaluate(found[1], place))
            except _UntoldError:
                part, faulty = "", faulty + 1
            parts += (text[end : found.start()], part)
            length += len(part)
            end = found.end()
            if length > _LONGEST_TEXT:
                self.used.update(_NAME.findall(text))
                message = f"{shortened(text)!r} filled in holds more than {_LONGEST_TEXT:,} characters"
                self._fault(place, "R117", message, "fill in shorter texts, or fewer of them")
                raise _UntoldError
        if faulty:
            raise _UntoldError
        return "".join(parts) + text[end:]

    def _evaluate(self, expression: str, place: Place) -> Value:
        try:
            return evaluate(expression, lambda name: self._lookup(name, place))
        except ValueError as fault:
            self.used.update(_NAME.findall(expression))  # none of them is to blame
            message = f"${{{shortened(expression)}}} cannot be evaluated: {fault}"
            help_text = "write plain arithmetic on numbers and variables, such as ${2 * sparsity}"
            self._fault(place, "R117", message, help_text)
            raise _UntoldError from fault

    def _lookup(self, name: str, place: Place) -> Value:
        self.used.add(name)
        if name in self.values:
            return self.values[name]
        if name in self.faulty:
            raise _UntoldError
        if name not in self.known:
            help_text = did_you_mean(name, self.known) or f"define it: variables: {{{shortened(name)}: 0.3}}"
            self._fault(place, "R116", f"there is no variable {shortened(name)!r}", help_text)
            raise _UntoldError
        self.open.append(name)
        try:
            self.values[name] = self._value(name)
        except _UntoldError:
            self.faulty.add(name)
            raise
        finally:
            self.open.pop()
        return self.values[name]

    def _value(self, name: str) -> Value:
        """The value of the variable that was opened last."""
        node = self.known[name]
        assert isinstance(node.value, Value)
        if name in self.open[:-1]:
            chain = " -> ".join(self.open[self.open.index(name) :])
            message = f"variables refer to one another in a circle: {chain}"
            self._fault(node.place, "R119", message, "give one of them a value of its own")
            raise _UntoldError
        if len(self.open) > _DEEPEST:
            self.used.update(self.known)  # what lies deeper is not looked at
            message = f"variables are made from one another more than {_DEEPEST} deep"
            self._fault(node.place, "R117", message, f"give {name} a value of its own")
            raise _UntoldError
        return self._text(node.value, node.place) if isinstance(node.value, str) else node.value

    def _fault(self, place: Place, code: str, message: str, help_text: str) -> None:
        self.faults.append(place.diagnostic(code, message, help_text))


def _plain(value: Value) -> str:
    """A value as it stands in text: 0.9 for 3 * 0.3, which is not quite that."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case _:
            return str(value)
