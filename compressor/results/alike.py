"""Whether two evaluations were measured alike, and why a figure is absent."""

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
    """One thing in which evaluations were not measured alike.

    Attributes:
        what: it is, such as `image size`.
        values: one for each evaluation, in words; `unknown` where one does not tell.
    """

    what: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} {' against '.join(self.values)}"


def unlike(evaluations: Sequence[Evaluation]) -> tuple[Unlike, ...]:
    """All in which some evaluations were not measured alike; empty where their figures may be compared.

    What one of them does not tell is not alike, even where no other tells it either. The version of PyTorch and the
    processor are left out, for they move figures by rounding only; so is the engine of the COCO figures, whose
    figures are the same to the last bit.
    """
    ways = [(each.data, each.settings) for each in evaluations]
    if not all(data.names for data, _ in ways):  # earlier versions told the names of classes with figures only
        ways = [
            (replace(data, names=tuple(f"{entry.index}: {entry.name}" for entry in each.metrics.classes)), settings)
            for each, (data, settings) in zip(evaluations, ways, strict=True)
        ]
    return unlike_ways(ways)


def unlike_ways(ways: Sequence[tuple[DataSummary, EvaluationSettings]]) -> tuple[Unlike, ...]:
    """The same of data and settings, which is all that decides how figures are measured."""
    told = [_told(data, settings) for data, settings in ways]
    different = (
        Unlike(what, tuple(_in_words(what, each[what]) for each in told))
        for what in told[0]
        if any(each[what] is None or each[what] != told[0][what] for each in told)
    )
    return (*different, *_unlike_names([data.names for data, _ in ways]))


def alike(a: Evaluation, b: Evaluation) -> bool:
    """Whether the figures of two evaluations may be compared."""
    return not unlike((a, b))


def absence(evaluation: Evaluation, name: str) -> str:
    """Why an evaluation has no figure of a name, as the end of a sentence that begins with the name.

    Args:
        evaluation: in which the figure is None.
        name: as gates know it, such as `APs` or `mAP50`.
    """
    if evaluation.metrics.coco.AP is None:
        crowds = " but crowd regions" if evaluation.data.crowds else ""
        return f"is undefined: there are no objects{crowds} in the split"
    if name in OWN_METRICS:
        return "was not measured: there are no objects in the label files"
    return f"is undefined: there are no {_SIZES.get(name[-1], '')}objects in the split"


def absences(evaluation: Evaluation) -> list[str]:
    """A sentence for each reason for which figures are absent."""
    found: dict[str, list[str]] = {}
    for name in (*vars(evaluation.metrics.coco), *OWN_METRICS):
        part = evaluation.metrics.detection if name in OWN_METRICS else evaluation.metrics.coco
        if getattr(part, name.replace("-", "_")) is None:
            found.setdefault(absence(evaluation, name), []).append(name)
    return [f"{', '.join(names)}: {why.removeprefix('is ')}." for why, names in found.items()]


def _told(data: DataSummary, settings: EvaluationSettings) -> dict[str, Any]:
    """Everything on which figures depend beside the network, in the order in which it is shown."""
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
    """Whether class names differ, but for case, blanks and the form of accents."""
    plainly = [tuple(map(plain, names)) for names in named]
    if all(plainly) and all(names == plainly[0] for names in plainly):
        return ()
    longest = max(map(len, plainly))
    place = next((i for i in range(longest) if len({names[i : i + 1] for names in plainly if names}) > 1), 0)
    return (Unlike("class names", tuple(_names_in_words(names, place) for names in named)),)


def _names_in_words(names: tuple[str, ...], place: int) -> str:
    """How many names there are, and the first that differs."""
    if not names:
        return "unknown"
    return f"{len(names)} ({names[place] if place < len(names) else f'none at {place}'})"
