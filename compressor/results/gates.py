"""Whether gates hold of figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compressor.recipe.gates import METRICS, parse_gate
from compressor.results.judgement import Evaluation


@dataclass(frozen=True)
class Verdict:
    """What became of one gate.

    Attributes:
        gate: as it was written: what should not hold.
        value: of its quantity, in its unit; None where that is undefined.
        failed: it holds, or cannot be decided.
    """

    gate: str
    value: float | None
    failed: bool


def verdicts(
    gates: Iterable[str], before: Evaluation | None, after: Evaluation | None, size: float | None
) -> tuple[Verdict, ...]:
    """Every gate decided; one whose figure is undefined has failed, since nothing was proved.

    Args:
        gates: as they were written.
        before: the model before, or the first of two.
        after: the model after, or the second.
        size: of the file, as a fraction.
    """
    figures = _figures(before, after, size)
    decided = []
    for text in gates:
        gate = parse_gate(text)
        value = figures.get(gate.quantity)
        decided.append(Verdict(text, value, value is None or gate.holds(value)))
    return tuple(decided)


def metric(evaluation: Evaluation | None, name: str) -> float | None:
    """One of the figures that gates know, as a fraction."""
    if evaluation is None:
        return None
    figures = evaluation.metrics
    part = figures.detection if name in ("P", "R", "mAP50", "mAP50-95") else figures.coco
    value: float | None = getattr(part, name.replace("-", "_"))
    return value


def class_changes(before: Evaluation, after: Evaluation) -> dict[str, float]:
    """By class, how much mAP50-95 changed, for the classes that both have."""
    earlier = {entry.name: entry.AP50_95 for entry in before.metrics.classes}
    return {entry.name: entry.AP50_95 - earlier[entry.name] for entry in after.metrics.classes if entry.name in earlier}


def _figures(before: Evaluation | None, after: Evaluation | None, size: float | None) -> dict[str, float]:
    figures = {} if size is None else {"size": 100 * size}
    for name in METRICS:
        old, new = metric(before, name), metric(after, name)
        if new is not None:
            figures[f"after.{name}"] = 100 * new
        if old is not None and new is not None:
            figures[name] = 100 * (new - old)
            if old > 0:
                figures[f"kept.{name}"] = 100 * new / old
    if before and after and (changes := class_changes(before, after)):
        figures["worst_class"] = 100 * min(changes.values())
    return figures
