"""`compressor sweep` from end to end: every combination once, and on after whatever came between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressor.results.run import load_run
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

GRID = ("--over", "modifiers.0.sparsity=0.2,0.5", "--over", "weights=tiny.safetensors,other.safetensors")
NAMES = {f"sparsity={sparsity}_weights={name}" for sparsity in ("0.2", "0.5") for name in ("tiny", "other")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_weights(tmp_path, seed=1).rename(tmp_path / "other.safetensors")
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    tiny_recipe(tmp_path, "half")
    return tmp_path


def runs(place: Path) -> dict[str, int]:
    """When each finished run was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in (place / "reports" / "half_sweep").glob("*/run.json")}


def test_every_combination_is_run_once_and_compared(place: Path) -> None:
    done = compressor("sweep", "half.yaml", *GRID, cwd=place)
    assert done.returncode == 0, done.stderr
    first = runs(place)
    assert set(first) == NAMES
    assert done.stderr.count("evaluate before") == 2  # once for each model
    assert done.stderr.count("evaluate after") == 4
    for name in NAMES:
        run = load_run(place / "reports" / "half_sweep" / name)
        assert (str(run.recipe["modifiers"][0]["sparsity"]), Path(run.weights.path).stem) == tuple(
            part.partition("=")[2] for part in name.split("_")
        )
        assert run.baseline is not None
    assert compressor("verify", f"reports/half_sweep/{name}", cwd=place).returncode == 0
    one, two = (load_run(place / "reports" / "half_sweep" / f"sparsity={s}_weights=tiny") for s in ("0.2", "0.5"))
    assert one.baseline == two.baseline
    assert "the model before was evaluated in an earlier run" in two.warnings[0]
    page = (place / "reports" / "half_sweep" / "comparison.md").read_text()
    assert all(name in page for name in NAMES)
    assert (place / "reports" / "half_sweep" / "pareto.png").is_file()
    more = compressor("sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2,0.5,0.7", *GRID[2:], cwd=place)
    assert more.returncode == 0, more.stderr
    assert more.stderr.count("evaluate after") == 2
    assert more.stderr.count("evaluate before") == 0
    assert {name: written for name, written in runs(place).items() if name in NAMES} == first


def test_runs_of_another_recipe_are_replaced_only_when_asked_to(place: Path) -> None:
    command = ("sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2")
    assert compressor(*command, cwd=place).returncode == 0
    refused = compressor(*command, "--set", "modifiers.0.allocation=global", cwd=place)
    assert (refused.returncode, "sparsity=0.2: O601" in refused.stderr) == (2, True)
    forced = compressor(*command, "--set", "modifiers.0.allocation=global", "--force", cwd=place)
    assert forced.returncode == 0
    assert load_run(place / "reports" / "half_sweep" / "sparsity=0.2").recipe["modifiers"][0]["allocation"] == "global"
    (place / "mine").mkdir()
    (place / "mine" / "thesis.tex").write_text("x")
    foreign = compressor(*command, "--output", "mine", "--force", cwd=place)
    assert (foreign.returncode, "O603" in foreign.stderr) == (2, True)
    tiny_weights(place, seed=5)
    other = compressor(*command, "--set", "modifiers.0.allocation=global", cwd=place)
    assert (other.returncode, "other weights" in other.stderr) == (2, True)


def test_files_of_one_name_and_names_with_commas_can_be_swept(place: Path) -> None:
    for folder in ("a", "b"):
        (place / folder).mkdir()
        shutil.copy(place / f"{'tiny' if folder == 'a' else 'other'}.safetensors", place / folder / "best.safetensors")
    shutil.copy(place / "tiny.safetensors", place / "x,y.safetensors")
    over = 'weights=a/best.safetensors,b/best.safetensors,"x,y.safetensors"'
    done = compressor("sweep", "half.yaml", "--over", over, "--set", "evaluation.baseline=false", cwd=place)
    assert done.returncode == 0, done.stderr
    names = {"weights=a-best.safetensors", "weights=b-best.safetensors", "weights=x-y.safetensors"}
    assert set(runs(place)) == names


def test_a_folder_that_was_killed_at_once_or_lost_its_model_goes_on(place: Path) -> None:
    folder = place / "reports" / "half_sweep"
    (folder / ".sweep.json.x.partial").mkdir(parents=True)
    command = ("sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2")
    assert compressor(*command, cwd=place).returncode == 0
    (folder / "sparsity=0.2" / "model.safetensors").unlink()
    refused = compressor(*command, cwd=place)
    assert (refused.returncode, "O601" in refused.stderr) == (2, True)
    assert compressor(*command, "--force", cwd=place).returncode == 0


def test_a_forced_run_that_fails_leaves_no_run_of_another_recipe_as_done(place: Path) -> None:
    command = ("sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2")
    assert compressor(*command, cwd=place).returncode == 0
    other = (*command, "--set", "modifiers.0.allocation=global", "--set", "data=later.yaml")
    assert compressor(*other, "--force", cwd=place).returncode == 2
    (place / "later.yaml").write_text((place / "tiny.yaml").read_text())
    again = compressor(*other, cwd=place)
    assert (again.returncode, "O601" in again.stderr) == (2, True)
    forced = compressor(*other, "--force", cwd=place)
    assert forced.returncode == 0, forced.stderr
    back = compressor(*command, cwd=place)
    assert (back.returncode, "O601" in back.stderr) == (2, True)
    once_more = compressor(*other, "--sort", "size", cwd=place)
    assert (once_more.returncode, "evaluate" in once_more.stderr) == (0, False)


def test_a_run_that_fails_does_not_stop_the_others(place: Path) -> None:
    (place / "broken.safetensors").write_bytes(b"no")
    over = "weights=broken.safetensors,tiny.safetensors"
    done = compressor("sweep", "half.yaml", "--over", over, "--set", "report.fail_if=[kept.AP < 300]", cwd=place)
    assert done.returncode == 2
    assert set(runs(place)) == {"weights=tiny"}
    assert "weights=broken failed:" in done.stderr
    assert "broken.safetensors: W3" in done.stderr
    assert "weights=tiny: gate failed: kept.AP < 300" in done.stderr


def test_killed_at_any_time_the_same_command_goes_on(place: Path) -> None:
    command = [sys.executable, "-m", "compressor", "sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2,0.4,0.6"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not runs(place) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    first = runs(place)
    assert first
    done = compressor("sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2,0.4,0.6", cwd=place)
    assert done.returncode == 0, done.stderr
    last = runs(place)
    assert set(last) == {"sparsity=0.2", "sparsity=0.4", "sparsity=0.6"}
    assert {name: last[name] for name in first} == first


def test_interrupted_it_says_how_to_go_on(place: Path) -> None:
    command = [sys.executable, "-m", "compressor", "sweep", "half.yaml", "--over", "modifiers.0.sparsity=0.2,0.4,0.6"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not runs(place) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; finished runs are kept in reports/half_sweep, and the same command goes on" in told
    assert not list((place / "reports" / "half_sweep").glob(".*partial"))


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ("modifiers.0.sparsity", "U916 not of the form"),
        ("modifiers.0.sparsity=0.2,,0.3", "U916 not of the form"),
        ("modifiers.0.sparsity=0.2,0.2", "U916 a value is named twice"),
        ("modifiers.0.sparsity=0.3,0.30", "U916 sparsity=0.30 would be the same run as sparsity=0.3"),
        ("modifiers.0.sparsity=it's", "--over modifiers.0.sparsity=it's: R104"),
        ("modifiers.0.sparsity=0.2,2", "R103 modifiers[0].sparsity must be below 1, got 2"),
        ("modifiers.0.sparsty=0.2", "R101 unknown key 'sparsty'"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused_before_anything_is_done(place: Path, over: str, why: str) -> None:
    done = compressor("sweep", "half.yaml", "--over", over, cwd=place)
    assert done.returncode == 2
    assert why in done.stderr
    assert not (place / "reports").exists()


def test_values_may_be_lists_and_mappings(place: Path) -> None:
    over = 'modifiers.0.sparsity={"*": 0.5, neck: 0.2},0.3'
    done = compressor("sweep", "half.yaml", "--over", over, "--set", "evaluation.baseline=false", cwd=place)
    assert done.returncode == 0, done.stderr
    made = [load_run(file.parent) for file in (place / "reports" / "half_sweep").glob("*/run.json")]
    assert sorted(str(run.recipe["modifiers"][0]["sparsity"]) for run in made) == [
        "0.3",
        "{'*': 0.5, 'neck': 0.2}",
    ]
