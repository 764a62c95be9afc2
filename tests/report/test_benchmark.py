"""What is said of times that were made up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from compressor.report.benchmark import TOO_FEW, document, groups, sentences, table, warnings_of
from compressor.results.benchmark import Benchmark, Measured
from tests.report.made_up import assert_golden, record

SHAKEN = tuple(10.0 + (i * 7) % 5 for i in range(20))  # 10 to 14 ms


def measured(file: str, factor: float, **other: object) -> Measured:
    times = tuple(factor * ms * (1.05 if i % 2 else 0.95) for i, ms in enumerate(SHAKEN))
    known = Measured(file, "torch", "cpu", "float32", False, 2, 1, times, tuple(2 * ms for ms in times))
    return replace(known, **other)  # type: ignore[arg-type]


def made_up(*each: Measured, before: float | None = 0.5, after: float | None = 1.25) -> Benchmark:
    return Benchmark(640, len(each[0].times_ms), 3, record().environment, before, after, each)


FIRST = measured("a.pt", 1.0, times_ms=SHAKEN)
FOUR = (FIRST, measured("same.pt", 1.0), measured("half|size.onnx", 0.5, runs_on="onnxruntime 1"), measured("b.pt", 2))


def test_page(update_golden: bool) -> None:
    made = made_up(*FOUR, *(replace(each, batch_size=8, times_ms=each.times_ms[:5]) for each in FOUR[:2]))
    parts = [f"{title}\n{table(lines).text()}\n\n{table(lines).markdown()}" for title, lines in groups(made)]
    assert_golden("\n\n".join((*parts, *sentences(made))) + "\n", "benchmark.txt", update_golden)


def test_figures_are_those_of_the_passes() -> None:
    (_, (first, same, half, double)) = groups(made_up(*FOUR))[0]
    assert first.percentiles_ms["median_ms"] == pytest.approx(12.0)
    assert first.percentiles_ms["p99_ms"] == pytest.approx(14.0)
    assert first.images_per_s == pytest.approx(2 / 0.012)
    assert first.cpu_s_per_image == pytest.approx(0.012, rel=0.01)
    assert (first.first, first.compared) == (True, None)
    verdicts = [each.compared.verdict for each in (same, half, double) if each.compared]
    assert verdicts == ["within noise", "faster", "slower"]
    assert half.compared is not None
    assert half.compared.ratio == pytest.approx(0.5, rel=0.05)
    assert half.compared.interval.low <= 0.5 <= half.compared.interval.high


def test_each_is_compared_with_the_first_of_its_batch_size_and_threads() -> None:
    slow = tuple(3 * ms for ms in SHAKEN)
    others = [replace(each, threads=2, times_ms=slow) for each in FOUR[:2]]
    made = groups(made_up(*FOUR[:2], *others))
    assert [title for title, _ in made] == [
        "640 px, batch 2, 1 thread, float32 on cpu",
        "640 px, batch 2, 2 threads, float32 on cpu",
    ]
    assert all(lines[1].compared and lines[1].compared.verdict == "within noise" for _, lines in made)


def test_too_few_passes_give_no_verdict() -> None:
    few = [replace(each, times_ms=each.times_ms[:5], cpu_ms=each.cpu_ms[:5]) for each in FOUR]
    (_, lines) = groups(made_up(*few))[0]
    assert table(lines).rows[2][-3:] == ("-", "-", TOO_FEW)


def test_what_differs_in_kind_is_told_in_its_row() -> None:
    other = replace(FOUR[1], device="cuda:0", precision="float16", suppression=True)
    ((title, lines),) = groups(made_up(FIRST, other))
    assert title == "640 px, batch 2, 1 thread"
    assert [row[1] for row in table(lines).rows] == ["torch, float32 on cpu", "torch, float16 on cuda:0, with NMS"]


@pytest.mark.parametrize(
    ("before", "after", "threads", "expected"),
    [
        (0.5, 2.4, 2, ""),
        (2.0, 0.1, 1, ""),
        (None, None, 2, ""),
        (2.1, 0.1, 1, "busy before: load average 2.10 on 2 cores"),
        (0.5, 2.6, 1, "busy during it: load average 2.60 on 2 cores"),
        (0.5, 4.4, 4, "4 threads on 2 cores"),
    ],
)
def test_a_busy_machine_gives_a_warning(before: float | None, after: float | None, threads: int, expected: str) -> None:
    found = list(warnings_of(made_up(replace(FIRST, threads=threads), before=before, after=after)))
    assert expected in found[0] if found else not expected, found
    assert len(found) == bool(expected)


def test_suppression_in_some_graphs_only_is_warned_of() -> None:
    assert "suppression" in next(warnings_of(made_up(FIRST, replace(FOUR[1], suppression=True))))


def test_document_holds_every_pass_and_no_number_that_is_none() -> None:
    made = json.loads(json.dumps(document(made_up(*FOUR, before=None)), allow_nan=False))
    assert made["measured"][2]["times_ms"] == list(FOUR[2].times_ms)
    assert made["measured"][2]["compared"]["verdict"] == "faster"
    assert made["measured"][0]["compared"] is None
    assert (made["load_before"], made["environment"]["cores"]) == (None, 2)
