"""Decides gates from figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from compressor.recipe.gates import Gate, parse_gate
from compressor.results.alike import OWN_METRICS, absence, unlike
from compressor.results.evaluation import Evaluation


@dataclass(frozen=True)
class Verdict:
    """The result of one gate.

    Attributes:
        gate: the condition as it was written; it should not be true.
        value: of its quantity, in its unit; None if it is undefined.
        failed: the condition is true or cannot be decided.
        reason: why it cannot be decided, as a clause; empty if it can, and in records of earlier versions.
    """

    gate: str
    value: float | None
    failed: bool
    reason: str = ""


def verdicts(
    gates: Iterable[str], before: Evaluation | None, after: Evaluation | None, size: float | None
) -> tuple[Verdict, ...]:
    """The result of every gate. A gate whose figure is undefined fails, because nothing was proved.

    A gate that compares also fails if the two were not measured alike, and if neither model finds anything.

    Args:
        gates: as they were written.
        before: the model before, or the first of two.
        after: the model after, or the second.
        size: of the file, as a fraction.
    """
    return tuple(_decided(text, parse_gate(text), before, after, size) for text in gates)


def _decided(text: str, gate: Gate, before: Evaluation | None, after: Evaluation | None, size: float | None) -> Verdict:
    if gate.quantity == "size":
        found = "the size is not known" if size is None else 100 * size
    elif gate.compares:
        found = _compared(gate.quantity, before, after)
    else:
        found = _after(gate.quantity.removeprefix("after."), after)
    if isinstance(found, str):
        return Verdict(text, None, failed=True, reason=found)
    return Verdict(text, found, gate.holds(found))


def _compared(quantity: str, before: Evaluation | None, after: Evaluation | None) -> float | str:
    """The value of a gate's quantity, in its unit, or why it is undefined."""
    if before is None or after is None:
        return f"the {'first' if before is None else 'second'} of the two was not evaluated"
    if different := unlike((before, after)):
        return f"the two were not measured alike: {'; '.join(map(str, different))}"
    if quantity == "worst_class":
        return _worst_class(before, after)
    form, _, name = quantity.rpartition(".")
    old, new = (_figure(each, name, which) for each, which in ((before, "the first"), (after, "the second")))
    if isinstance(old, str) or isinstance(new, str):
        return old if isinstance(old, str) else str(new)
    if old <= 0 and new <= 0:
        return f"{name} is 0 before and after: neither model finds anything"
    if not form:
        return round(100 * (new - old), 9)  # so that 0.275 minus 0.3 is -2.5
    return 100 * new / old if old > 0 else f"the share of {name} kept is undefined: it is 0 before"


def _after(name: str, after: Evaluation | None) -> float | str:
    """A figure of the model after, in points, or why it is undefined or proves nothing."""
    found = _figure(after, name, "the second")
    if isinstance(found, str):
        return found
    return 100 * found if found > 0 else f"{name} is 0: the model finds nothing"


def _figure(evaluation: Evaluation | None, name: str, which: str) -> float | str:
    """A figure as a fraction, or why it is missing."""
    if evaluation is None:
        return f"{which} of the two was not evaluated"
    value = metric(evaluation, name)
    return f"{name} {absence(evaluation, name)}" if value is None else value


def _worst_class(before: Evaluation, after: Evaluation) -> float | str:
    """Change of the class that lost most, in points, or why it is undefined; classes are matched by their index."""
    old, new = ({entry.index: entry.AP50_95 for entry in each.metrics.classes} for each in (before, after))
    if not old and not new:
        return f"mAP50-95 by class {absence(after, 'mAP50-95')}"
    if old.keys() != new.keys():
        return "the two do not have figures of the same classes"
    if not any(old.values()) and not any(new.values()):
        return "mAP50-95 of every class is 0 before and after: neither model finds anything"
    return round(100 * min(value - old[index] for index, value in new.items()), 9)


def metric(evaluation: Evaluation | None, name: str) -> float | None:
    """One of the figures that gates use, as a fraction."""
    if evaluation is None:
        return None
    figures = evaluation.metrics
    part = figures.detection if name in OWN_METRICS else figures.coco
    value: float | None = getattr(part, name.replace("-", "_"))
    return value


def class_figures(evaluation: Evaluation) -> dict[str, float]:
    """mAP50-95 by class name; if several classes share a name, a number is added to the later ones."""
    figures: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for entry in evaluation.metrics.classes:
        seen[entry.name] += 1
        figures[entry.name if seen[entry.name] == 1 else f"{entry.name} ({seen[entry.name]})"] = entry.AP50_95
    return figures
