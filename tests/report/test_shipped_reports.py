"""The shipped reports are those that the tool renders from their records, pictures and all."""

from pathlib import Path

import pytest

from compressor.progress import Silent
from compressor.report.html import page
from compressor.report.pictures import EXAMPLES, pictures
from compressor.results.run import load_run
from compressor.run.folder import sha256
from compressor.run.report import rendered
from compressor.tasks.verify import verify

REPORTS = Path(__file__).parents[2] / "reports"
RUNS = sorted(file.parent for file in REPORTS.glob("*/run.json"))


def test_there_are_some() -> None:
    assert [run.name for run in RUNS] == ["demo", "yolov5n_global30", "yolov5n_uniform30"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_report_is_rendered_again_byte_by_byte(run: Path) -> None:
    assert rendered(load_run(run), run).encode() == (run / "report.md").read_bytes()


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_pictures_are_those_of_the_run_and_are_drawn_again(run: Path) -> None:
    record = load_run(run)
    recorded = {file.path: file.sha256 for file in record.files if file.path.endswith(".png")}
    assert recorded == {file.name: sha256(file) for file in run.glob("*.png")}
    assert set(dict(pictures(record))) == set(recorded) - {EXAMPLES}
    assert page(rendered(record, run), run.name, run).count("data:image/png;base64,") == len(recorded)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_processor_is_all_that_is_named_of_the_machine_it_was_made_on(run: Path) -> None:
    text = (run / "run.json").read_text(encoding="utf-8")
    assert "/home/" not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_each_is_verified_and_says_what_is_not_shipped(run: Path) -> None:
    found = verify(run, None, None, Silent())
    assert [check for check in found.checks if check.differences] == []
    assert found.absent == ("model.safetensors", "predictions_after.json", "predictions_before.json")
    assert found.trusted[0].keys == ("*",)
