"""What a verification of a run did not work out: every other key of run.json is checked, which a test holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compressor.recipe.exports import traits_of
from compressor.results.run import RunRecord
from compressor.tasks.verify.claims import Trusted
from compressor.tasks.verify.evaluations import evaluations_of
from compressor.tasks.verify.figures import FIGURES, OPENCV, drawn_here
from compressor.tasks.verify.record import older
from compressor.tasks.verify.writer import other_writer


@dataclass(frozen=True)
class Known:
    """What there was to verify a run with.

    Attributes:
        gzipped: zlib is that of the run.
        drawn: Matplotlib is that of the run.
        source: the weights that it began with are here.
        no_data: why the data are not here; None where they are.
        recipe: its recipe is one of this version's language.
        evaluated: its models were evaluated again.
    """

    gzipped: bool
    drawn: bool
    source: bool
    no_data: str | None
    recipe: bool
    evaluated: bool


def trusted(record: RunRecord, known: Known) -> tuple[Trusted, ...]:
    """What run.json says and was not worked out, with the reason."""
    return tuple(
        each
        for each in (
            Trusted(("name", "command", "started"), "nothing in the folder shows them"),
            Trusted(("environment",), "the machine and the packages of a run leave no trace in its files"),
            Trusted(("duration_s", "steps", "timing", *_speeds(record)), "times cannot be measured again"),
            Trusted(("warnings",), "only those that follow from the files, the data and the exports are known"),
            *of_wording(record),
            *_of_weights(record, known),
            *_of_evaluations(record, known),
            *of_pictures(record, drawn=known.drawn, data=known.no_data is None),
            *_of_search(record),
            *_of_exports(record, known),
            *_of_recipe(known),
        )
        if each.keys
    )


def _evaluated(record: RunRecord) -> list[str]:
    return [key for key in ("baseline", "compressed") if getattr(record, key) is not None]


def _speeds(record: RunRecord) -> list[str]:
    return [f"{key}.speed" for key, _ in evaluations_of(record)]


def of_wording(record: RunRecord) -> Iterator[Trusted]:
    """The sentences of another version."""
    writer = other_writer(record)
    if writer is not None:
        keys = ("the words of report.md", "changes.*.summary", *(f"{key}.data.skipped" for key in _evaluated(record)))
        yield Trusted(keys, f"exact sentences, not checked: written by {writer}")


def _of_weights(record: RunRecord, known: Known) -> Iterator[Trusted]:
    if not known.source:
        keys = ("weights.size_bytes", "sizes.source", "model.fused", "changes.*.layers.*.zeros_before")
        yield Trusted(keys, f"the weights that it began with, {record.weights.path}, are not here")
    if not known.gzipped:
        sizes = tuple(f"sizes.{name}.gzip_bytes" for name in ("source", "dense_float32", "dense", "artifact"))
        yield Trusted(sizes, "gzip sizes depend on zlib, and the run was made with another, or does not say with which")


def _of_evaluations(record: RunRecord, known: Known) -> Iterator[Trusted]:
    models = _evaluated(record)
    yield Trusted(tuple(f"{key}.settings.device" for key in models), "any device can have given the detections")
    if known.no_data is not None:
        keys = tuple(f"{key}.{part}" for key in models for part in FIGURES)
        yield Trusted(keys, f"{known.no_data}; say where the data are now with --data")
    elif models:
        means = [f"{key}.metrics.detection.{name}" for key in models for name in "PR"]
        classes = [f"{key}.metrics.classes.*.{name}" for key in models for name in "PR"]
        evaluated = known.evaluated and known.source
        reason = (
            "P and R jump where the best confidence moves, which the rounded detections do not show to the last digit"
        )
        yield Trusted((*classes, *(() if evaluated else means)), reason)
    if record.baseline is not None:
        yield Trusted(("baseline.data.source", "baseline.data.skipped"), "a sweep may have read the data elsewhere")
    if record.reference is not None and record.recipe.get("report", {}).get("reference"):
        yield Trusted(("reference",), "the file that the recipe names is not part of the run")
    elif record.reference is not None and older(record):
        yield Trusted(("reference",), "an earlier version compared with what was measured otherwise")


def of_pictures(record: RunRecord, *, drawn: bool, data: bool) -> Iterator[Trusted]:
    """The pictures that cannot be drawn again alike, or not without data."""
    if not drawn:
        writer = other_writer(record)
        another = "Matplotlib is another than that of the run, or the run does not say which"
        yield Trusted(("the pictures",), f"not checked: drawn by {writer}" if writer else another)
    if record.baseline is not None and (not data or not drawn_here(record, OPENCV)):
        yield Trusted(("examples.png",), "it takes the data and the OpenCV of the run to draw it again")


def _of_search(record: RunRecord) -> Iterator[Trusted]:
    if record.search is not None:
        keys = ("search.goal", "search.baseline_AP", "search.tries")
        yield Trusted(keys, "only the sparsity that was found leaves a trace")


def _of_exports(record: RunRecord, known: Known) -> Iterator[Trusted]:
    for index, export in enumerate(record.exports):
        place = f"exports.{index}"
        if export.model is not None:
            yield Trusted((f"{place}.model",), "a run keeps no detections of the model by the protocol of an export")
        yield Trusted((f"{place}.agreement",), f"compare {export.path} with the model again by `compressor export`")
        if export.evaluation is None:
            continue
        if not known.evaluated:
            yield Trusted(
                (f"{place}.evaluation",), "a run keeps no detections of its exports; evaluate with --evaluate"
            )
        elif traits_of(export.format).program:
            stated = f"{export.path} is a program, and not run; where you trust it, `compressor evaluate` it"
            yield Trusted((f"{place}.evaluation",), stated)
        else:
            keys = (f"{place}.evaluation.settings", f"{place}.evaluation.metrics.classes")
            yield Trusted(keys, "its runtime gives the figures over all classes within a tolerance only")


def _of_recipe(known: Known) -> Iterator[Trusted]:
    if not known.recipe:
        keys = ("changes", "search", "gates", "baseline", "compressed", "duration_s", "warnings", "reference")
        yield Trusted(keys, "its recipe is of another version of the language, so what it asks for is not known")


def not_recorded(record: RunRecord) -> tuple[str, ...]:
    """What the version that made a run did not write, or had nothing to write of."""
    stated: dict[str, object] = {"steps": record.steps, "files": record.files, "report_sha256": record.report_sha256}
    packages = record.environment.packages
    stated |= {f"environment.packages.{name}": packages.get(name) for name in ("zlib", "matplotlib")}
    for key in _evaluated(record):
        evaluation = getattr(record, key)
        stated |= {
            f"{key}.resampled": evaluation.resampled,
            f"{key}.precision_by_recall": evaluation.precision_by_recall,
        }
    if record.baseline is not None:
        stated["timing"] = record.timing
    return tuple(key for key, value in stated.items() if not value)
