"""Whether gates hold of figures."""

from __future__ import annotations

from collections import Counter
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


def class_figures(evaluation: Evaluation) -> dict[str, float]:
    """mAP50-95 by class name; of several classes of one name the later ones have a number behind it."""
    figures: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for entry in evaluation.metrics.classes:
        seen[entry.name] += 1
        figures[entry.name if seen[entry.name] == 1 else f"{entry.name} ({seen[entry.name]})"] = entry.AP50_95
    return figures


def _figures(before: Evaluation | None, after: Evaluation | None, size: float | None) -> dict[str, float]:
    figures = {} if size is None else {"size": 100 * size}
    for name in METRICS:
        old, new = metric(before, name), metric(after, name)
        if new is not None:
            figures[f"after.{name}"] = 100 * new
        if old is not None and new is not None:
            figures[name] = round(100 * (new - old), 9)  # so that 0.275 less 0.3 is -2.5
            if old > 0:
                figures[f"kept.{name}"] = 100 * new / old
    if before and after:
        earlier = class_figures(before)
        changes = [new - earlier[name] for name, new in class_figures(after).items() if name in earlier]
        if changes:
            figures["worst_class"] = round(100 * min(changes), 9)
    return figures
