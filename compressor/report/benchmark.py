"""Times of networks as tables: percentiles, throughput, and whether a difference is significant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from compressor.report.intervals import Interval, Verdict, quantile, ratio_of_turns, verdict_of
from compressor.report.tables import Table
from compressor.results.benchmark import Benchmark, Measured

TOO_FEW = "too few passes"
_PERCENTILES = (("median_ms", 0.5), ("p90_ms", 0.9), ("p95_ms", 0.95), ("p99_ms", 0.99))
_MARGIN = 0.5  # of the load average: what a system does by itself


@dataclass(frozen=True)
class Compared:
    """A network's times compared with those of the first.

    Attributes:
        ratio: its time divided by that of the first, the median over turns.
        interval: 95 % confidence interval of the ratio.
        verdict: in words.
    """

    ratio: float
    interval: Interval
    verdict: Verdict


@dataclass(frozen=True)
class Line:
    """One network's figures.

    Attributes:
        measured: the measurement they come from.
        first: whether it is the one that others are compared with.
        percentiles_ms: median and 90th, 95th and 99th percentile of the passes' times, by name.
        images_per_s: at the median.
        cpu_s_per_image: mean processor seconds, summed over all threads.
        compared: with the first of its batch size and threads; None for the first itself, and for too few passes.
    """

    measured: Measured
    first: bool
    percentiles_ms: dict[str, float]
    images_per_s: float
    cpu_s_per_image: float
    compared: Compared | None


def groups(benchmark: Benchmark) -> list[tuple[str, list[Line]]]:
    """The networks that were timed in turns, in their order, under a title with what they have in common."""
    firsts: dict[tuple[int, int], Measured] = {}
    found: dict[tuple[int, int], list[Line]] = {}
    for each in benchmark.measured:
        key = each.batch_size, each.threads
        first = firsts.setdefault(key, each)
        found.setdefault(key, []).append(_line(each, first))
    return [(_title(benchmark, *key), lines) for key, lines in found.items()]


def _title(benchmark: Benchmark, batch_size: int, threads: int) -> str:
    title = f"{benchmark.image_size} px, batch {batch_size}, {threads} {'thread' if threads == 1 else 'threads'}"
    kinds = {_kind(each) for each in benchmark.measured}
    return f"{title}, {kinds.pop()}" if len(kinds) == 1 else title


def _kind(measured: Measured) -> str:
    return f"{measured.precision} on {measured.device}"


def _line(measured: Measured, first: Measured) -> Line:
    ordered = sorted(measured.times_ms)
    percentiles = {name: quantile(ordered, below) for name, below in _PERCENTILES}
    found = None if measured is first else ratio_of_turns(first.times_ms, measured.times_ms)
    return Line(
        measured,
        measured is first,
        percentiles,
        images_per_s=1e3 * measured.batch_size / max(percentiles["median_ms"], 1e-9),
        cpu_s_per_image=sum(measured.cpu_ms) / len(measured.cpu_ms) / measured.batch_size / 1e3,
        compared=Compared(*found, verdict_of(found[1])) if found else None,
    )


def table(lines: list[Line]) -> Table:
    """Networks that were timed in turns, one per row."""
    alike = len({_kind(line.measured) for line in lines}) == 1  # then the title says it
    rows = []
    for line in lines:
        percentiles = [f"{line.percentiles_ms[name]:.2f}" for name, _ in _PERCENTILES]
        per_image = f"{line.images_per_s:.2f}", f"{line.cpu_s_per_image:.4f}"
        runs_on = _runs_on(line.measured, alike=alike)
        rows.append((line.measured.file, runs_on, *percentiles, *per_image, *_comparison(line)))
    headers = ("file", "runs on", "median ms", "p90", "p95", "p99", "images/s", "CPU s/image")
    return Table((*headers, "x first", "95 % interval", "verdict"), tuple(rows), text_columns=2)


def _runs_on(measured: Measured, *, alike: bool) -> str:
    parts = (measured.runs_on, "" if alike else _kind(measured), "with NMS" if measured.suppression else "")
    return ", ".join(filter(None, parts))


def _comparison(line: Line) -> tuple[str, str, str]:
    if line.compared is None:
        return ("1.00", "-", "the first") if line.first else ("-", "-", TOO_FEW)
    interval = line.compared.interval
    return f"{line.compared.ratio:.2f}", f"{interval.low:.2f} to {interval.high:.2f}", line.compared.verdict


def sentences(benchmark: Benchmark) -> Iterator[str]:
    """Sentences on how and where it was measured."""
    passes = f"{benchmark.runs} {'pass' if benchmark.runs == 1 else 'passes'}"
    yield f"{passes} of each in turns, after {benchmark.warm_up} to warm up; x first: how many times as long it took."
    machine = benchmark.environment
    loads = (benchmark.load_before, benchmark.load_after)
    before, after = ("unknown" if load is None else f"{load:.2f}" for load in loads)
    yield f"{machine.processor}, {machine.cores} cores; load average {before} before, {after} after"
    runtimes = dict.fromkeys(each.runs_on for each in benchmark.measured if "torch" not in each.runs_on)
    versions = (f"torch {machine.packages['torch']}", *runtimes)
    yield f"{machine.platform}, Python {machine.python}, compressor {machine.compressor}, {', '.join(versions)}"


def warnings_of(benchmark: Benchmark) -> Iterator[str]:
    """Reasons why these times may mislead."""
    yield from benchmark.warnings
    cores = benchmark.environment.cores
    threads = max(each.threads for each in benchmark.measured)
    before, after = benchmark.load_before, benchmark.load_after
    if before is not None and before > cores:
        yield f"the machine was busy before: load average {before:.2f} on {cores} cores; times are too long and vary"
    elif after is not None and after > max(cores, threads) + _MARGIN:
        yield f"the machine was busy during it: load average {after:.2f} on {cores} cores; times are too long and vary"
    if threads > cores:
        yield f"{threads} threads on {cores} cores wait for each other"
    if len({each.suppression for each in benchmark.measured}) > 1:
        yield "some of the graphs do non-maximum suppression, which is part of their times, and others do not"


def document(benchmark: Benchmark) -> dict[str, Any]:
    """The whole benchmark as data for `--json`."""
    lines = [line for _, each in groups(benchmark) for line in each]
    whole = asdict(benchmark)
    del whole["measured"]
    return {
        **whole,
        "warnings": list(warnings_of(benchmark)),
        "measured": [
            {
                **asdict(line.measured),
                **line.percentiles_ms,
                "images_per_s": line.images_per_s,
                "cpu_s_per_image": line.cpu_s_per_image,
                "compared": asdict(line.compared) if line.compared else None,
            }
            for line in lines
        ],
    }
