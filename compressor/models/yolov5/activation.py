"""Activations of a layer table, such as `nn.LeakyReLU(0.1)`, as plain data; torch is not needed.

The text is parsed by a pattern and looked up in a closed table: upstream evaluates it as Python, which a stranger's
file must never come to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

ActivationKind = Literal[
    "SiLU",
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "Hardswish",
    "Mish",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "Hardtanh",
    "Hardsigmoid",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "Identity",
]
ACTIVATIONS: tuple[ActivationKind, ...] = get_args(ActivationKind)

Setting = float | str

# Arguments in torch's order, under the names of the attributes they become, with torch's defaults.
_SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "LeakyReLU": {"negative_slope": 0.01},
    "ELU": {"alpha": 1.0},
    "CELU": {"alpha": 1.0},
    "GELU": {"approximate": "none"},
    "Hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "Softplus": {"beta": 1.0, "threshold": 20.0},
}
_CALL = re.compile(r"(?:torch\.)?(?:nn\.)?(?:modules\.activation\.)?(\w{1,40})\((.{0,200})\)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")


@dataclass(frozen=True)
class Activation:
    """An elementwise activation.

    Attributes:
        kind: torch's class name.
        settings: all its arguments in torch's order, but `inplace`, which changes no value.
    """

    kind: ActivationKind = "SiLU"
    settings: tuple[Setting, ...] = ()

    @property
    def text(self) -> str:
        """Upstream's notation, such as `nn.LeakyReLU(0.1)`."""
        return f"nn.{self.kind}({', '.join(repr(setting) for setting in self.settings)})"


SILU = Activation()


def parse_activation(text: str) -> Activation:
    """The activation that a layer table names.

    Raises:
        ValueError: it is not one of the table's, or is written in another way than a call of one.
    """
    call = _CALL.fullmatch(text.strip())
    if call is None or call[1] not in ACTIVATIONS:
        raise ValueError(f"the activation {text[:60]!r}")
    stated: dict[str, Any] = {}
    names = (*_SETTINGS.get(call[1], {}), "inplace")
    for index, argument in enumerate(part.strip() for part in call[2].split(",") if part.strip()):
        name, _, value = argument.rpartition("=")
        name = name.strip() or (names[index] if index < len(names) else "")
        if name not in names or name in stated:
            raise ValueError(f"the activation {text[:60]!r}")
        stated[name] = _value(value.strip(), text)
    return activation(call[1], stated)


def activation(kind: str, stated: Mapping[str, Any]) -> Activation:
    """An activation of a known kind with the settings that are stated, torch's defaults for the rest.

    Raises:
        ValueError: the kind is unknown, or a setting is not a finite number (of GELU: neither of its two words).
    """
    if kind not in ACTIVATIONS:
        raise ValueError(f"the activation {kind[:60]}")
    settings = []
    for name, default in _SETTINGS.get(kind, {}).items():
        value = stated.get(name, default)
        if isinstance(default, str):
            right = isinstance(value, str) and value in ("none", "tanh")
        else:
            right = type(value) in (int, float) and math.isfinite(value)
        if not right:
            raise ValueError(f"the {name} of the activation {kind}")
        settings.append(value if isinstance(default, str) else float(value))
    return Activation(kind, tuple(settings))


def _value(word: str, text: str) -> Setting | bool:
    if word in ("True", "False"):
        return word == "True"
    if _NUMBER.fullmatch(word):
        return float(word)
    if word[:1] in ("'", '"') and word[:1] == word[-1:]:
        return word[1:-1]
    raise ValueError(f"the activation {text[:60]!r}")
