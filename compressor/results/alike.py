"""Whether two evaluations were measured alike, and why a figure is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from compressor.results.class_name import plain
from compressor.results.evaluation import DataSummary, Evaluation, EvaluationSettings

_SIZES = {"s": "small ", "m": "medium ", "l": "large "}  # by the last letter of a COCO figure
OWN_METRICS = ("P", "R", "mAP50", "mAP50-95")  # of YOLOv5, counted on label files


@dataclass(frozen=True)
class Unlike:
    """One setting or part of the data in which evaluations differ.

    Attributes:
        what: its name, such as `image size`.
        values: one for each evaluation, in words; `unknown` if it is not recorded.
    """

    what: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} {' against '.join(self.values)}"


def unlike(evaluations: Sequence[Evaluation]) -> tuple[Unlike, ...]:
    """Everything in which some evaluations were measured differently; empty if their figures can be compared.

    A value that is not recorded counts as different, even from another that is not recorded. The version of PyTorch and
    the processor are left out, because they change figures by rounding only; so is the engine of the COCO figures,
    because both engines give the same figures to the last bit.
    """
    ways = [(each.data, each.settings) for each in evaluations]
    if not all(data.names for data, _ in ways):  # earlier versions recorded only names of classes with figures
        ways = [
            (replace(data, names=tuple(f"{entry.index}: {entry.name}" for entry in each.metrics.classes)), settings)
            for each, (data, settings) in zip(evaluations, ways, strict=True)
        ]
    return unlike_ways(ways)


def unlike_ways(ways: Sequence[tuple[DataSummary, EvaluationSettings]]) -> tuple[Unlike, ...]:
    """The same from data and settings, which decide everything about how figures are measured."""
    recorded = [_recorded(data, settings) for data, settings in ways]
    different = (
        Unlike(what, tuple(_in_words(what, each[what]) for each in recorded))
        for what in recorded[0]
        if any(each[what] is None or each[what] != recorded[0][what] for each in recorded)
    )
    return (*different, *_unlike_names([data.names for data, _ in ways]))


def alike(a: Evaluation, b: Evaluation) -> bool:
    """Whether the figures of two evaluations can be compared."""
    return not unlike((a, b))


def absence(evaluation: Evaluation, name: str) -> str:
    """Why an evaluation lacks a figure, as the end of a sentence that begins with the figure's name.

    Args:
        evaluation: in which the figure is None.
        name: as gates use it, such as `APs` or `mAP50`.
    """
    if evaluation.metrics.coco.AP is None:
        crowds = " but crowd regions" if evaluation.data.crowds else ""
        return f"is undefined: there are no objects{crowds} in the split"
    if name in OWN_METRICS:
        return "was not measured: there are no objects in the label files"
    return f"is undefined: there are no {_SIZES.get(name[-1], '')}objects in the split"


def absences(evaluation: Evaluation) -> list[str]:
    """A sentence for each reason why figures are missing."""
    found: dict[str, list[str]] = {}
    for name in (*vars(evaluation.metrics.coco), *OWN_METRICS):
        part = evaluation.metrics.detection if name in OWN_METRICS else evaluation.metrics.coco
        if getattr(part, name.replace("-", "_")) is None:
            found.setdefault(absence(evaluation, name), []).append(name)
    return [f"{', '.join(names)}: {why.removeprefix('is ')}." for why, names in found.items()]


def _recorded(data: DataSummary, settings: EvaluationSettings) -> dict[str, Any]:
    """Everything on which figures depend except the network, in the order in which it is shown."""
    protocol = settings.protocol
    if protocol["shapes"] == "squares":
        protocol["batch size"] = "any"  # it moves no figure there
    protocol["most detections of a class"] = settings.most_per_class or "any"
    return {
        "images or labels, sha256": data.sha256 or None,
        "images": data.images,
        "ground truth": data.ground_truth,
        "labelled objects": data.instances,
        **protocol,
        "runtime": settings.runs_on,
        "device": settings.device.partition(":")[0],
        "method": settings.method,
    }


def _in_words(what: str, value: Any) -> str:
    if value is None:
        return "unknown"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text[:12] if what.endswith("sha256") else text


def _unlike_names(named: Sequence[tuple[str, ...]]) -> tuple[Unlike, ...]:
    """Whether class names differ; case, blanks and the Unicode form of accents do not count."""
    plainly = [tuple(map(plain, names)) for names in named]
    if all(plainly) and all(names == plainly[0] for names in plainly):
        return ()
    longest = max(map(len, plainly))
    place = next((i for i in range(longest) if len({names[i : i + 1] for names in plainly if names}) > 1), 0)
    return (Unlike("class names", tuple(_names_in_words(names, place) for names in named)),)


def _names_in_words(names: tuple[str, ...], place: int) -> str:
    """The number of names, and the first that differs."""
    if not names:
        return "unknown"
    return f"{len(names)} ({names[place] if place < len(names) else f'none at {place}'})"
