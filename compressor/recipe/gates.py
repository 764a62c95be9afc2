"""Gates: what must not come of a run or a comparison, as in `AP < -2.5`."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from compressor.errors import did_you_mean

_OF_COCO = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_OF_YOLOV5 = ("P", "R", "mAP50", "mAP50-95")
METRICS = (*_OF_COCO, *_OF_YOLOV5)
OTHERS = ("worst_class", "size")
_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
GATE = r"^\s*(?:(after|kept)\.)?([A-Za-z0-9_-]+)\s*(<=|>=|<|>)\s*([-+]?[0-9]+(?:\.[0-9]+)?)\s*$"  # for editors too


@dataclass(frozen=True)
class Gate:
    """One condition that should not hold.

    Attributes:
        quantity: a metric, which means its change in points (hundredths); `after.` one, its value in points; `kept.`
            one, per cent of its value before; `worst_class`, the change of the class that lost most mAP50-95, in
            points; or `size`, the file in per cent of its dense form, or in a comparison of the other file.
        sign: `<`, `<=`, `>` or `>=`.
        bound: in the quantity's unit.
    """

    quantity: str
    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether the condition is true of a value."""
        return bool(_OPERATORS[self.sign](value, self.bound))

    @property
    def compares(self) -> bool:
        """Whether it needs a model before as well as one after."""
        return not self.quantity.startswith("after.") and self.quantity != "size"


def parse_gate(text: str) -> Gate:
    """A gate from its text.

    Raises:
        ValueError: it is none; with what would be one.
    """
    found = re.fullmatch(GATE, text)
    if found is None:
        raise ValueError("write a metric, a sign and a number: AP < -2.5, kept.AP50 < 95, after.AP < 45 or size > 60")
    form, name, sign, bound = found.groups()
    known = METRICS if form else (*METRICS, *OTHERS)
    if name not in known:
        raise ValueError(did_you_mean(name, known) or f"known are {', '.join(known)}")
    return Gate(f"{form}.{name}" if form else name, sign, float(bound))


def _known_gate(text: str) -> str:
    try:
        parse_gate(text)
    except ValueError as fault:
        raise PydanticCustomError(
            "R105", "must be a gate, got the text '{text}'", {"text": text, "help": str(fault)}
        ) from None
    return text


GateText = Annotated[str, AfterValidator(_known_gate), WithJsonSchema({"type": "string", "pattern": GATE})]
