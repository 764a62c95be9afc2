"""Which runs no other beats, and in which order they stand."""

from dataclasses import replace

import pytest

from compressor.report.compare import overview, overview_table, warnings_of
from compressor.results.files import FileSize
from compressor.results.run import RunRecord
from tests.report.made_up import evaluation, record


def run(ap: float | None, size: int, sparsity: float, ms: float) -> RunRecord:
    base = record()
    judged = evaluation(ap)
    judged = replace(judged, speed=replace(judged.speed, inference_ms=ms))
    sizes = replace(base.sizes, artifact=FileSize(size, size))
    return replace(base, compressed=judged, sizes=sizes, sparsity=replace(base.sparsity, conv_weights=sparsity))


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


def test_what_may_not_be_compared_is_told() -> None:
    assert warnings_of(overview(RUNS)) == []
    other = run(0.4, 200, 0.7, 20.0)
    assert other.compressed is not None
    data = replace(other.compressed, data=replace(other.compressed.data, sha256="0" * 64))
    fast = replace(other.environment, processor="another")
    told = warnings_of(overview([*RUNS, ("other", replace(other, compressed=data, environment=fast))]))
    assert len(told) == 2
    assert "different images or labels" in told[0]
    larger = replace(other.compressed, settings=replace(other.compressed.settings, image_size=1280))
    (settings,) = warnings_of(overview([*RUNS, ("larger", replace(other, compressed=larger))]))
    assert "different settings" in settings
