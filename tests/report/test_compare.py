"""Which runs no other beats, and in which order they stand."""

from dataclasses import replace
from typing import Any

import pytest

from compressor.report.compare import fronts, nothing_to_draw, overview, overview_table, warnings_of
from compressor.results.files import FileSize
from compressor.results.run import RunRecord
from tests.report.made_up import evaluation, record


def run(ap: float | None, size: int, sparsity: float, ms: float) -> RunRecord:
    base = record()
    evaluated = evaluation(ap)
    evaluated = replace(evaluated, speed=replace(evaluated.speed, inference_ms=ms))
    sizes = replace(base.sizes, artifact=FileSize(size, size))
    return replace(base, compressed=evaluated, sizes=sizes, sparsity=replace(base.sparsity, conv_weights=sparsity))


RUNS = [
    ("good", run(0.5, 400, 0.3, 20.0)),
    ("small", run(0.4, 200, 0.7, 20.0)),
    ("beaten", run(0.3, 300, 0.5, 30.0)),
    ("equal", run(0.4, 200, 0.7, 20.0)),
    ("undefined", run(None, 100, 0.9, 1.0)),
]


def test_stars_mark_what_no_other_beats() -> None:
    best = {line.name: line.best for line in overview(RUNS)}
    assert best == {
        "good": (True, True, True),
        "small": (True, True, False),
        "beaten": (False, False, False),
        "equal": (True, True, False),
        "undefined": (False, False, False),
    }
    cells = {row[0]: row[6:] for row in overview_table(overview(RUNS)).rows}
    assert cells["good"] == ("30.00 % *", "0.000 *", "20.0 *")
    assert cells["beaten"] == ("50.00 %", "0.000", "30.0")


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("AP", ["good", "equal", "small", "beaten", "undefined"]),
        ("size", ["undefined", "equal", "small", "beaten", "good"]),
        ("sparsity", ["undefined", "equal", "small", "beaten", "good"]),
        ("latency", ["undefined", "equal", "good", "small", "beaten"]),
        ("name", ["beaten", "equal", "good", "small", "undefined"]),
    ],
)
def test_the_best_stand_first_and_the_undefined_last(sort: str, names: list[str]) -> None:
    assert [line.name for line in overview(RUNS, sort)] == names


def test_runs_that_cannot_be_compared_are_named() -> None:
    assert warnings_of(overview(RUNS)) == []
    other = otherwise(run(0.4, 200, 0.7, 20.0), image_size=1280, conf_thres=0.25)
    fast = replace(other, environment=replace(other.environment, processor="another"))
    unevaluated = replace(record(), compressed=None)
    assert warnings_of(overview([*RUNS, ("other", fast), ("unevaluated", unevaluated)])) == [
        "Runs with different letters were not measured alike: do not compare their figures; each letter has its own "
        "stars.",
        "Not the same: image size (A: 640, B: 1280).",
        "Not the same: conf_thres (A: 0.001, B: 0.25).",
        "other: its two models were not measured alike.",
        "unevaluated was not evaluated.",
        "The runs were made on different machines, so their times cannot be compared.",
    ]


def otherwise(known: RunRecord, **settings: Any) -> RunRecord:
    assert known.compressed is not None
    changed = replace(known.compressed, settings=replace(known.compressed.settings, **settings))
    return replace(known, compressed=changed)


def test_runs_that_were_not_measured_alike_do_not_beat_each_other() -> None:
    high = otherwise(run(0.9, 50, 0.9, 1.0), image_size=1280)  # beats every other in everything, but for that
    unevaluated = replace(record(), compressed=None)
    lines = overview([("high", high), *RUNS, ("unevaluated", unevaluated)])
    assert [(line.name, line.group) for line in lines] == [
        *((name, 0) for name in ("good", "equal", "small", "beaten", "undefined")),
        ("high", 1),
        ("unevaluated", None),
    ]
    alone = {line.name: line.best for line in overview(RUNS)}
    best = {line.name: line.best for line in lines}
    assert {name: best[name] for name in alone} == alone
    assert best["high"] == (True, True, True)
    table = overview_table(lines)
    assert table.headers[2] == "measured as"
    assert [row[2] for row in table.rows] == ["A", "A", "A", "A", "A", "B", "-"]
    assert {row[0]: row[5] for row in table.rows}["high"] == "-"  # kept: its model before was measured otherwise
    assert {row[0]: row[5] for row in table.rows}["good"] == "125.0 %"
    assert [line.name for line in overview([("high", high), *RUNS], "size")][:3] == ["high", "undefined", "equal"]


def test_times_of_other_machines_do_not_beat() -> None:
    fast = run(0.6, 900, 0.1, 0.1)
    fast = replace(fast, environment=replace(fast.environment, processor="another"))
    lines = {line.name: line for line in overview([("fast", fast), *RUNS])}
    assert {line.group for line in lines.values()} == {0}
    assert lines["fast"].best == (True, True, True)
    assert lines["good"].best == (True, True, True)  # slower, but on a machine of its own


def test_a_plot_joins_only_runs_that_were_measured_alike() -> None:
    lines = overview([*RUNS, ("high", otherwise(run(0.9, 50, 0.9, 1.0), image_size=1280))])
    points = [(float(line.run.sizes.artifact.size_bytes), 0.0, line) for line in lines]
    assert fronts(points, 0) == [[(200.0, 0.0), (200.0, 0.0), (400.0, 0.0)], [(50.0, 0.0)]]
    assert nothing_to_draw(overview([("a", run(None, 1, 0.1, 1.0))])).endswith("there are no objects in their splits")
    assert nothing_to_draw(overview([("a", replace(record(), compressed=None))])).endswith("was evaluated")
