"""`compressor sensitivity`, in this process but for Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compressor.cli.main import cli
from compressor.models.yolov5 import describe
from compressor.recipe.load import load_recipe
from compressor.results.sensitivity import load_table
from compressor.tasks.sensitivity_files import SensitivityFiles
from trials.tiny import tiny_data, tiny_weights

COMMAND = ("sensitivity", "tiny.safetensors", "--data", "tiny.yaml", "--images", "2", "--image-size", "64")
SHORT = (*COMMAND, "--sparsities", "0.5")
TABLE, PLOT = "tiny.sensitivity.json", "tiny.sensitivity.png"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    return tmp_path


def invoke(*arguments: str | Path, cwd: Path) -> Result:
    with contextlib.chdir(cwd):
        return CliRunner().invoke(cli, lasting(list(map(str, arguments))))


def lasting(words: list[str]) -> list[str]:
    """A command and what a test gives otherwise: of each option its last value, since none may be given twice."""
    for option in {word for word in words if word.startswith("--") and words.count(word) > 1}:
        first = words.index(option)
        words = lasting(words[:first] + words[first + 2 :])
    return words


def test_writes_table_and_plot_and_prints_the_table(place: Path) -> None:
    before = {path.name for path in place.iterdir()}
    done = invoke(*SHORT, "--sparsities", "0.25,0.5", cwd=place)
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in place.iterdir()} - before == {TABLE, PLOT}
    table = load_table(place / TABLE)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Change of the outputs where one layer alone is pruned and solved again")
    assert lines[1].split() == ["layer", "role", "weights", "25", "%", "50", "%"]
    for line, layer in zip(lines[3:63], table.layers, strict=True):
        losses = [f"{loss:.2e}" for _, loss in layer.points]
        assert line.split() == [layer.name, layer.role, f"{layer.weights:,}", *losses]
    assert lines[64].startswith(f"{TABLE}: ")
    assert "60 layers" in done.stderr


def test_json_is_the_table_and_nothing_else(place: Path) -> None:
    done = invoke(*SHORT, "--json", "--quiet", "--output", "new/t.json", cwd=place)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (place / "new" / "t.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout)["schema"] == "compressor/tasks/sensitivity/1"
    assert {path.name for path in (place / "new").iterdir()} == {"t.json", "t.png"}


@pytest.mark.parametrize(("data", "calibrated"), [("tiny.yaml", None), ("images", "images")])
def test_recipe_that_is_emitted_can_be_planned(
    place: Path, data: str, calibrated: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "count_gflops", lambda _: 0.0)
    wanted = ("--data", data, "--output", "tables/t.json", "--emit", "recipes/mine.yaml", "--sparsity", "0.4")
    done = invoke(*SHORT, *wanted, cwd=place)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("recipes/mine.yaml: YOLOv5 ")
    recipe = load_recipe(place / "recipes" / "mine.yaml").recipe
    first, second = recipe.modifiers
    assert (first.type, second.type) == ("prune", "repair")
    assert first.model_dump()["table"] == "../tables/t.json"
    assert second.images is not None
    assert second.images.data == calibrated
    planned = invoke("plan", "recipes/mine.yaml", "--json", "--no-times", cwd=place)
    assert planned.exit_code == 0, planned.stderr
    steps = json.loads(planned.stdout)["steps"]
    layers = steps[0]["layers"]
    share = sum(layer["pruned"] for layer in layers) / sum(layer["weights"] for layer in layers)
    assert share == pytest.approx(0.4, abs=1e-3)
    assert len({layer["pruned"] / layer["weights"] for layer in layers}) > 1  # not the same everywhere


@pytest.mark.parametrize(("said", "types"), [((), ["prune", "repair"]), (("--no-repaired",), ["prune"])])
def test_a_recipe_by_ap_repairs_unless_told_otherwise(place: Path, said: tuple[str, ...], types: list[str]) -> None:
    done = invoke(*SHORT, "--by", "ap", "--emit", "r.yaml", *said, cwd=place)
    assert done.exit_code == 0, done.stderr
    assert [step.type for step in load_recipe(place / "r.yaml").recipe.modifiers] == types


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sparsities", "0.5,1.5"), "1.5 is not above 0 and below 1"),
        (("--sparsities", "0,0.5"), "0 is not above 0"),
        (("--sparsities", "nan"), "nan is not above 0"),
        (("--sparsities", "0.7,0.5"), "not in ascending order"),
        (("--sparsities", "0.5,0.50"), "names a sparsity twice"),
        (("--sparsities", "0.5,"), "is not a list of numbers"),
        (("--sparsities", ""), "is not a list of numbers"),
        (("--images", "0"), "0 is not in the range"),
        (("--by", "loss"), "'loss' is not one of 'output', 'ap'"),
        (("--score", "wanda"), "'wanda' is not one of"),
        (("--sparsity", "0.5"), "name the recipe with --emit"),
        (("--data", "images", "--split", "val"), "--data names a folder of images"),
        (("--data", "images", "--by", "ap"), "--by ap needs labels"),
        (("--output", "x.json", "--emit", "x.json"), "the recipe would take the place of the table"),
        (
            ("--output", "x.json", "--emit", "x.png", "--force"),
            "the recipe would take the place of the table",
        ),
        (
            ("--output", "x.json", "--emit", "x.json.partial.jsonl"),
            "the recipe would take the place of the table",
        ),
        (
            ("--output", "x.json", "--emit", "images/../x.json"),
            "the recipe would take the place of the table",
        ),
        (("--data", "\udcff.yaml"), "the name is not UTF-8 text"),
    ],
)
def test_usage_faults(place: Path, arguments: tuple[str, ...], words: str) -> None:
    done = invoke(*COMMAND, *arguments, cwd=place)
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--emit", "r.yaml", "--sparsity", "2"), "--sparsity: R103"),
        (("--device", "gpu"), "--device: U903"),
        (("--data", "nope.yaml"), "nope.yaml: D402"),
    ],
)
def test_faults_of_the_input(place: Path, arguments: tuple[str, ...], words: str) -> None:
    done = invoke(*SHORT, *arguments, cwd=place)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (place / TABLE).exists()


def test_existing_output_is_replaced_only_when_asked_to(place: Path) -> None:
    arguments = (*SHORT, "--emit", "r.yaml")
    assert invoke(*arguments, cwd=place).exit_code == 0
    old = {name: (place / name).read_bytes() for name in (TABLE, PLOT, "r.yaml")}
    for name, content in old.items():  # each alone
        for other in old:
            (place / other).unlink(missing_ok=True)
        (place / name).write_bytes(content)
        done = invoke(*arguments, cwd=place)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{name}: O601 there is a ")
        assert (place / name).read_bytes() == content
    for name, content in old.items():
        (place / name).write_bytes(content)
    done = invoke(*arguments, "--sparsities", "0.6", "--sparsity", "0.3", "--force", cwd=place)
    assert done.exit_code == 0, done.stderr
    assert all((place / name).read_bytes() != content for name, content in old.items())


@pytest.mark.parametrize("name", [TABLE, PLOT, "r.yaml", f"{TABLE}.partial.jsonl"])
def test_something_else_is_never_replaced(place: Path, name: str) -> None:
    (place / name).write_text('{"schema": "compressor/run/1"}\n')
    done = invoke(*SHORT, "--emit", "r.yaml", "--force", cwd=place)
    assert done.exit_code == 2
    assert f"{name}: O603" in done.stderr
    assert (place / name).read_text() == '{"schema": "compressor/run/1"}\n'


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is POSIX's")
def test_interrupted_it_says_how_to_go_on_and_does(place: Path) -> None:
    slow = lasting([*SHORT, "--images", "6", "--image-size", "320"])
    notes = place / f"{TABLE}.partial.jsonl"
    with subprocess.Popen([sys.executable, "-m", "compressor", *slow], cwd=place, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not notes.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert f"interrupted; the same command goes on: {notes.name} holds what was measured".encode() in shown
    assert b"Traceback" not in shown
    assert not (place / TABLE).exists()
    assert not list(place.glob(".*"))
    layers = len(notes.read_text().splitlines()) - 1
    assert 1 <= layers < 60
    done = invoke(*slow, cwd=place)
    assert done.exit_code == 0, done.stderr
    assert f"go on after {layers} layers" in done.stderr
    assert not notes.exists()
    assert len(load_table(place / TABLE).layers) == 60


def test_interrupted_before_anything_was_measured(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compressor.tasks.sensitivity.load_images", stop)
    done = invoke(*SHORT, cwd=place)
    assert done.exit_code == 130
    assert done.stderr.endswith("\ninterrupted; nothing was written\n")


def test_interrupted_at_the_very_end_it_says_what_was_done(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SensitivityFiles.write

    def stop(*arguments: Any) -> None:
        whole(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(SensitivityFiles, "write", stop)
    done = invoke(*SHORT, cwd=place)
    assert done.exit_code == 130
    assert done.stderr.endswith(f"\ninterrupted; the measurement was done: {TABLE}\n")
    assert (place / TABLE).is_file()
