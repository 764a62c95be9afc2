"""A recipe that ships its model in other formats too: what is written is what was judged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compressor.results.run import load_run
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

EXPORTS = """exports:
  - {format: yolov5}
  - {format: openvino, dynamic_size: true}
  - {format: onnx, nms: {conf_thres: 0.01, max_det: 5}}
  - {format: torchscript, image_size: 96, evaluate: false}
"""
NAMES = ["model_yolov5.pt", "model_openvino_model", "model_nms.onnx", "model.torchscript"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    recipe = tiny_recipe(folder, "shipped")
    recipe.write_text(recipe.read_text() + EXPORTS)
    done = compressor("apply", "shipped.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "out").write_text(done.stdout)
    return folder


def test_every_format_is_written_compared_and_judged(place: Path) -> None:
    run = load_run(place / "reports" / "shipped")
    assert [export.path for export in run.exports] == NAMES
    assert run.compressed is not None
    ours = run.compressed.metrics.coco.AP
    for export in run.exports[:2]:
        assert export.agreement is not None
        assert export.evaluation is not None
        assert pytest.approx(ours, abs=5e-4) == export.evaluation.metrics.coco.AP
    runtimes = [export.evaluation.settings.runs_on.split()[0] if export.evaluation else None for export in run.exports]
    assert runtimes == ["torch", "OpenVINO", "onnxruntime", None]
    suppressed = run.exports[2].evaluation
    assert suppressed is not None
    assert (suppressed.settings.conf_thres, suppressed.settings.iou_thres) == (0.01, 0.45)
    recorded = {file.path for file in run.files}
    folder = {f"model_openvino_model/model.{ending}" for ending in ("xml", "bin", "yaml")}
    assert {*folder, *NAMES[2:]} <= recorded


def test_a_files_figures_stand_beside_those_of_the_model_by_the_same_protocol(place: Path) -> None:
    run = load_run(place / "reports" / "shipped")
    assert run.compressed is not None
    free, squares = run.exports[1:3]
    assert (free.evaluation and free.evaluation.settings.protocol) == run.compressed.settings.protocol
    assert free.model is None  # the run's own figures are those already
    assert squares.evaluation is not None
    assert squares.model is not None
    assert squares.model.settings.protocol == squares.evaluation.settings.protocol != run.compressed.settings.protocol
    settings = squares.model.settings
    assert (settings.shapes_in_words, settings.runs_on, settings.most_per_class) == ("squares of 64 px", "torch", 5)
    assert pytest.approx(squares.evaluation.metrics.coco.AP, abs=1e-6) == squares.model.metrics.coco.AP


def test_the_terminal_and_the_report_tell_of_them(place: Path) -> None:
    report = (place / "reports" / "shipped" / "report.md").read_text()
    printed = (place / "out").read_text()
    for name in NAMES:
        assert name in printed
        assert f"| {name} " in report
    how = "squares of 64 px, the only size it takes, and at its own thresholds: score 0.01, overlap 0.45, at most 5"
    assert (
        f"model_nms.onnx was evaluated on {how} boxes of a class; the AP of the model was measured in the same way"
        in report
    )
    for name, shapes in zip(
        NAMES, ("rectangles of 64 px", "rectangles of 64 px", "squares of 64 px", "-"), strict=True
    ):
        row = next(line for line in report.splitlines() if line.startswith(f"| {name} "))
        assert f"| {shapes} " in row


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """The same to change."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_the_run_can_be_verified_from_anywhere(place: Path) -> None:
    (place / "elsewhere").mkdir(exist_ok=True)
    done = compressor("verify", "../reports/shipped", cwd=place / "elsewhere")
    assert (done.returncode, "differs" in done.stdout) == (0, False)
    done = compressor("verify", "reports/shipped", "--evaluate", "--json", cwd=place)
    assert done.returncode == 0, done.stdout
    claims = [check["claim"] for check in json.loads(done.stdout)["checks"]]
    assert {claim.split(":")[0] for claim in claims if "evaluated again" in claim} >= {"model.safetensors", *NAMES[:3]}


def test_a_changed_export_is_told(copy: Path) -> None:
    graph = copy / "reports" / "shipped" / "model_openvino_model" / "model.bin"
    graph.write_bytes(graph.read_bytes() + b"x")
    changed = compressor("verify", "reports/shipped", cwd=copy)
    assert (changed.returncode, "model_openvino_model/model.bin was changed" in changed.stdout) == (1, True)


def test_what_is_not_the_runs_own_is_not_opened(copy: Path) -> None:
    folder = copy / "reports" / "shipped"
    shutil.copy(folder / "model_yolov5.pt", copy / "outside.pt")
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"path": "model_yolov5.pt"', '"path": "../../outside.pt"'))
    (folder / "model_nms.onnx").unlink()
    done = compressor("verify", "reports/shipped", "--evaluate", "--json", cwd=copy)
    assert done.returncode == 1, done.stderr
    checks = {check["claim"]: check["differences"] for check in json.loads(done.stdout)["checks"]}
    assert checks["the exports are those that the recipe asks for, as large as recorded"] == ["the record names others"]
    for name in ("../../outside.pt", "model_nms.onnx"):
        assert checks[f"{name}: evaluated again"] == ["it is not the file that was evaluated, so it is not run"]
    assert checks["model.safetensors: evaluated again every figure over all classes is within 0.0005"] == []


def test_the_run_is_replaced_when_asked_to_and_nothing_else_with_it(copy: Path) -> None:
    recipe = copy / "shipped.yaml"
    other = "exports: [{format: onnx, nms: {conf_thres: 0.99999}}]\n"
    recipe.write_text(recipe.read_text().replace(EXPORTS, other))
    mine = copy / "reports" / "shipped" / "model_openvino_model" / "mine.txt"
    mine.write_text("x")
    command = ("apply", "shipped.yaml", "--force", "--no-evaluate")
    refused = compressor(*command, cwd=copy)
    assert (refused.returncode, "O603" in refused.stderr) == (2, True)
    mine.unlink()
    again = compressor(*command, cwd=copy)
    assert again.returncode == 0, again.stderr
    run = load_run(copy / "reports" / "shipped")
    (export,) = run.exports
    assert (export.evaluation, export.agreement) == (None, None)
    assert not mine.parent.exists()
    assert "model_nms.onnx was not compared with the model: neither detects anything on the images" in run.warnings


@pytest.mark.parametrize("command", [("apply", "--force"), ("plan",)])
def test_a_package_that_is_missing_is_told_before_anything_is_done(copy: Path, command: tuple[str, ...]) -> None:
    (copy / "missing").mkdir()
    (copy / "missing" / "sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    (copy / "tiny.safetensors").unlink()
    arguments = [sys.executable, "-m", "compressor", *command, "shipped.yaml"]
    paths = os.pathsep.join(str(path) for path in (copy / "missing", Path(__file__).parents[2]))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(arguments, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'U912 openvino is not installed\n  help: install it: pip install "compressor[openvino]"' in done.stderr


def test_plan_names_them(place: Path) -> None:
    done = compressor("plan", "shipped.yaml", cwd=place)
    assert done.stdout.splitlines()[-1] == ", ".join(NAMES)
