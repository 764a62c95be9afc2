"""The report and the diff of a made-up run beside their exact texts. Run with --update-golden to rewrite them."""

from dataclasses import replace
from pathlib import Path

import pytest

from compressor.errors import InputError
from compressor.report.compare import compare_runs, comparison_tables
from compressor.report.render import render_report
from compressor.results.document import to_json
from compressor.results.files import FileDigest, FileSize, Sizes
from compressor.results.judgement import (
    ClassMetrics,
    CocoMetrics,
    DataSummary,
    DetectionMetrics,
    Evaluation,
    EvaluationSettings,
    Metrics,
    Speed,
)
from compressor.results.network import Change, LayerChange, LayerSparsity, ModelSummary, SparsitySummary
from compressor.results.run import Environment, RunRecord, load_run

HERE = Path(__file__).parent


def evaluation(ap: float | None, shift: float = 0.0) -> Evaluation:
    coco = CocoMetrics(ap, 0.6 + shift, 0.5 + shift, None, 0.4, 0.7, 0.3, 0.5, 0.6, None, 0.5, 0.8)
    classes = (
        ClassMetrics(0, "a|b", 3, 4, 0.9, 0.8, 0.7, 0.6 + shift),
        ClassMetrics(1, "two\nlines", 1, 1, 0.9, 0.8, 0.7, 0.5),
    )
    data = DataSummary("mine.yaml", "val", 4, 5, 1, ("x.jpg: left out, it is empty",), "labels", "cd" * 32)
    settings = EvaluationSettings(640, 8, 0.001, 0.65, 300, "ceil", "cpu", "float32")
    return Evaluation(
        Metrics(coco, DetectionMetrics(0.7, 0.6, 0.65, 0.4), classes), Speed(1.0, 20.0, 3.0), data, settings
    )


def record() -> RunRecord:
    summary = ModelSummary("YOLOv5n", "v6", 2, True, 213, 1_763_224, 0, 4.2, (8, 16, 32))
    recipe = {"version": 1, "description": "A made-up\nrun.", "artifact": {"dtype": "float16", "layout": "bitmask"}}
    change = LayerChange("model.0.conv", "stem", (16, 3, 6, 6), 1728, 518, 1, 518)
    return RunRecord(
        name="made_up",
        command="compressor apply made_up.yaml",
        started="2026-01-02T03:04:05+00:00",
        duration_s=12.3,
        recipe=recipe,
        weights=FileDigest("best.pt", 4_000_000, "ab" * 32),
        model=summary,
        compressed_model=summary,
        changes=(Change("prune", "prune 30 % of the weights of 1 layers", (change,)),),
        layers=(LayerSparsity("model.0.conv", "stem", (16, 3, 6, 6), 1728, 518),),
        sparsity=SparsitySummary(0.3, 0.3, 0.299),
        sizes=Sizes(FileSize(4_000, 3_500), FileSize(7_000, 3_400), FileSize(3_600, 2_800), FileSize(2_800, 2_600)),
        baseline=evaluation(0.4),
        compressed=evaluation(0.3, -0.1),
        environment=Environment("0.1.0", "3.11", "Linux x86_64", "a processor", 2, "cpu", {"torch": "2.13.0"}),
        warnings=("x.jpg: left out, it is empty",),
        files=(FileDigest("model.safetensors", 2_800, "ef" * 32),),
    )


def assert_golden(text: str, name: str, update: bool) -> None:
    if update:
        (HERE / name).write_text(text, encoding="utf-8")
    assert text == (HERE / name).read_text(encoding="utf-8")


def test_report(update_golden: bool) -> None:
    assert_golden(render_report(record()), "report.md", update_golden)


def test_report_of_a_run_that_was_not_judged(update_golden: bool) -> None:
    unjudged = replace(record(), baseline=None, compressed=None, warnings=())
    assert_golden(render_report(unjudged), "report_unjudged.md", update_golden)


def test_diff(update_golden: bool) -> None:
    a = record()
    b = replace(
        a,
        recipe={**a.recipe, "data": "other.yaml"},
        compressed=evaluation(None, -0.2),
        layers=(replace(a.layers[0], zeros=100),),
        sizes=replace(a.sizes, artifact=FileSize(3_000, 2_700)),
    )
    tables = comparison_tables(compare_runs(a, b), "a", "b")
    text = "\n\n".join(f"## {title}\n\n{table.markdown()}" for title, table in tables) + "\n"
    assert_golden(text, "diff.md", update_golden)
    assert compare_runs(a, a).equal


def test_run_json_reads_back_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(to_json(record()), encoding="utf-8")
    assert load_run(tmp_path) == record()
    assert load_run(tmp_path / "run.json") == record()


@pytest.mark.parametrize("old", ['"compressor/run/1"', '"weights": 1728', '"AP": 0.4'])
def test_records_that_are_not_one_are_refused(tmp_path: Path, old: str) -> None:
    new = {'"compressor/run/1"': '"compressor/run/9"', '"weights": 1728': '"weights": 0', '"AP": 0.4': '"AP": "x"'}[old]
    text = to_json(record())
    assert old in text
    (tmp_path / "run.json").write_text(text.replace(old, new))
    with pytest.raises(InputError, match="U902"):
        load_run(tmp_path)
