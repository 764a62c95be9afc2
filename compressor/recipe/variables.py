"""`variables:` and the `${...}` that use them, resolved before a recipe is checked."""

from __future__ import annotations

import re

from compressor.errors import Diagnostic, did_you_mean
from compressor.recipe.arithmetic import Value, evaluate
from compressor.recipe.nodes import Node, Place

UNKNOWN = "${?}"  # stands for a value that cannot be told, so that nothing more is said of it

_EXPRESSION = re.compile(r"\$\$\{|\$\{([^{}]*)\}")  # $${ is a literal ${
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
        if node is not None:
            self._read(node)

    def _read(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            message = "variables must be a mapping of names to values"
            self.faults.append(node.place.diagnostic("R104", message, "write variables: {sparsity: 0.3}"))
            return
        for name, value in node.value.items():
            if not _NAME.fullmatch(name):
                place, help_text = node.keys.get(name, value.place), "use letters, digits and underscores"
                self.faults.append(place.diagnostic("R104", f"{name!r} cannot name a variable", help_text))
                continue
            self.known[name] = value
            if not isinstance(value.value, Value):
                message = f"variables.{name} must be a number, text, true or false"
                self.faults.append(value.place.diagnostic("R104", message))
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
            return Node(self._text(node.value, node.place), node.place)
        except _UntoldError:
            return Node(UNKNOWN, node.place)

    def tell_unused(self, own: frozenset[str]) -> None:
        """Append a fault for every variable of the recipe's own that nothing uses."""
        used = [name for name in self.known if name in self.used]
        for name, node in self.known.items():
            if name not in self.used and node.place.path in own:
                help_text = did_you_mean(name, used) or f"write ${{{name}}} where it is meant, or take it out"
                self.faults.append(node.place.diagnostic("R118", f"the variable {name!r} is used nowhere", help_text))

    def _text(self, text: str, place: Place) -> Value:
        whole = _EXPRESSION.fullmatch(text)
        if whole and whole[1] is not None:
            return self._evaluate(whole[1], place)
        rest = _EXPRESSION.sub("", text)
        if "${" in rest:
            help_text = "write ${name} or ${2 * name}; for a plain ${ write $${"
            self.faults.append(place.diagnostic("R117", f"{text!r} holds a ${{ that does not end", help_text))
            raise _UntoldError
        return _EXPRESSION.sub(lambda found: "${" if found[1] is None else self._shown(found[1], place), text)

    def _shown(self, expression: str, place: Place) -> str:
        value = self._evaluate(expression, place)
        match value:
            case bool():
                return str(value).lower()
            case float():
                return f"{value:g}"
            case _:
                return str(value)

    def _evaluate(self, expression: str, place: Place) -> Value:
        try:
            return evaluate(expression, lambda name: self._lookup(name, place))
        except ValueError as fault:
            message = f"${{{expression}}} cannot be evaluated: {fault}"
            help_text = "write plain arithmetic on numbers and variables, such as ${2 * sparsity}"
            self.faults.append(place.diagnostic("R117", message, help_text))
            raise _UntoldError from fault

    def _lookup(self, name: str, place: Place) -> Value:
        self.used.add(name)
        if name in self.values:
            return self.values[name]
        if name in self.faulty:
            raise _UntoldError
        if name not in self.known:
            help_text = did_you_mean(name, self.known) or f"define it: variables: {{{name}: 0.3}}"
            self.faults.append(place.diagnostic("R116", f"there is no variable {name!r}", help_text))
            raise _UntoldError
        node = self.known[name]
        assert isinstance(node.value, Value)
        self.open.append(name)
        try:
            if name in self.open[:-1]:
                chain = " -> ".join(self.open[self.open.index(name) :])
                message = f"variables refer to one another in a circle: {chain}"
                self.faults.append(node.place.diagnostic("R119", message, "give one of them a value of its own"))
                raise _UntoldError
            self.values[name] = self._text(node.value, node.place) if isinstance(node.value, str) else node.value
        except _UntoldError:
            self.faulty.add(name)
            raise
        finally:
            self.open.pop()
        return self.values[name]
