"""`compressor verify`: a run as it was made holds, and every tampering is told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    done = compressor("apply", tiny_recipe(folder, "tiny_half").name, "--output", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def verified(place: Path, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    done = compressor("verify", *arguments, "--json", cwd=place)
    assert done.returncode in (0, 1), done.stderr
    document = json.loads(done.stdout)
    assert document["good"] == (done.returncode == 0)
    return done.returncode, {check["claim"]: check["differences"] for check in document["checks"]}


def change_record(place: Path, change: Any) -> None:
    file = place / "run" / "run.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def test_what_was_made_holds(place: Path) -> None:
    code, checks = verified(place, "run", "--evaluate")
    assert code == 0
    assert len(checks) == 23
    assert len(verified(place, "run/model.safetensors")[1]) == 2
    text = compressor("verify", "run", cwd=place).stdout
    *lines, counts = text.splitlines()
    assert all(line.startswith(("holds  ", "trust  ")) for line in lines)
    told = [sum(line.startswith(word) for line in lines) for word in ("holds", "trust")]
    assert counts == f"{told[0]} claims hold, 0 differ; {told[1]} entries are taken on trust"
    assert "trust   name, command, started: nothing in the folder shows them" in text


def test_figures_are_worked_out_from_the_detections_where_the_data_are(place: Path) -> None:
    moved = place / "elsewhere"
    moved.mkdir()
    for name in ("images", "labels", "tiny.yaml"):
        (place / name).rename(moved / name)

    def tamper(record: dict[str, Any]) -> None:
        record["compressed"]["resampled"]["AP50"][7] = 0.5

    change_record(place, tamper)
    done = compressor("verify", "run", "--json", cwd=place)
    told = json.loads(done.stdout)["on_trust"]
    assert done.returncode == 0, "nothing here can tell"
    assert any("compressed.resampled" in each["keys"] and "--data" in each["reason"] for each in told)
    code, checks = verified(place, "run", "--data", "elsewhere/tiny.yaml")
    assert (code, sum(map(len, checks.values()))) == (1, 1)
    claim = "compressed: the data, the figures and the draws are those of predictions_after.json"
    assert checks[claim] == ["resampled.AP50 is not that of these draws"]


def test_pictures_and_gzip_sizes_of_another_record_are_told(place: Path) -> None:
    def tamper(record: dict[str, Any]) -> None:
        record["sizes"]["dense"]["gzip_bytes"] += 1
        record["compressed"]["metrics"]["coco"]["AP50"] = 0.9
        record["compressed"]["metrics"]["classes"][0]["AP50_95"] += 0.1

    change_record(place, tamper)
    checks = verified(place, "run")[1]
    assert checks["the pictures are those that run.json gives"] == [
        "precision_recall.png is another picture",
        "classes.png is another picture",
    ]
    assert [text.split(" is ")[0] for text in checks["the file sizes are those of the artifact's tensors"]] == [
        "sizes.dense.gzip_bytes"
    ]


def test_a_flipped_bit_is_told(place: Path) -> None:
    file = place / "run" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes(data)
    code, checks = verified(place, "run/model.safetensors")
    assert code == 1
    assert next(iter(checks.values()))
    code, checks = verified(place, "run")
    assert checks["every file has its recorded digest"] == ["model.safetensors was changed"]


def test_a_record_of_other_zeros_recipe_or_figures_is_told(place: Path) -> None:
    def tamper(record: dict[str, Any]) -> None:
        record["layers"][3]["zeros"] += 1
        record["recipe"]["description"] = "another"
        record["compressed"]["metrics"]["coco"]["AR100"] = 0.9

    change_record(place, tamper)
    done = compressor("verify", "run", "--evaluate", cwd=place)
    assert done.returncode == 1
    assert "the recipe differs" in done.stdout
    assert "zeros, recorded are" in done.stdout
    assert "recorded is 0.9" in done.stdout
    assert "run: U922 checks that do not hold: 6 of 23\n  help: make it again from its recipe" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")].count("differs") == 6


def test_other_data_are_told(place: Path) -> None:
    labels = next((place / "labels").glob("*.txt"))
    labels.write_text("0 0.5 0.5 0.5 0.5\n")
    code, checks = verified(place, "run", "--evaluate")
    assert code == 1
    assert checks["model.safetensors: the data are those of the run"] == ["tiny.yaml holds other images or labels"]


def without(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [file for file in files if file["path"] != "model.safetensors"]


def test_a_report_and_files_that_the_record_does_not_know_are_told(place: Path) -> None:
    (place / "run" / "report.md").write_text("# kept 100 % of the AP")
    (place / "run" / "notes.txt").write_text("mine")
    change_record(place, lambda record: record.update(files=without(record["files"])))
    code, checks = verified(place, "run")
    assert code == 1
    assert checks["the report is the one that run.json gives"]
    told = checks["every file has its recorded digest"]
    assert "notes.txt does not belong to the run" in told
    assert "model.safetensors is not recorded" in told


def test_a_missing_file_is_told(place: Path) -> None:
    (place / "run" / "predictions_after.json").unlink()
    assert verified(place, "run")[1]["every file has its recorded digest"] == ["predictions_after.json is missing"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.safetensors",), "W301"),
        (("run", "--device", "cpu"), "--device goes with --evaluate"),
        (("images",), "U901"),
        (("run/model.safetensors", "--evaluate"), "U913"),
        (("run/model.safetensors", "--data", "tiny.yaml"), "U913"),
        (("tiny.yaml",), "W30"),
    ],
)
def test_what_claims_nothing_is_refused(made: Path, arguments: tuple[str, ...], words: str) -> None:
    done = compressor("verify", *arguments, cwd=made)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_kept_without_its_run_holds_and_names_what_is_absent(place: Path) -> None:
    run = place / "run"
    absent = ["model.safetensors", "predictions_after.json", "predictions_before.json"]
    moved = [(run / name).rename(place / name) for name in absent]
    done = compressor("verify", "run", cwd=place)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("absent")]
    assert lines == [f"absent  {name}: named in run.json, and not in this folder" for name in absent]
    document = json.loads(compressor("verify", "run", "--json", cwd=place).stdout)
    assert (document["absent"], document["counts"]["absent"]) == (absent, 3)
    assert document["on_trust"][0]["keys"] == ["*"]
    done = compressor("verify", "run", "--evaluate", cwd=place)
    assert (done.returncode, "U913" in done.stderr) == (2, True), done.stderr
    change_record(place, lambda record: record["compressed"]["metrics"]["coco"].update(AP=0.9))
    code, checks = verified(place, "run")
    assert (code, len(checks["the report is the one that run.json gives"])) == (1, 1)
    moved[1].rename(run / absent[1])
    assert "model.safetensors is missing" in verified(place, "run")[1]["every file has its recorded digest"]


@pytest.mark.parametrize("fault", ["{}", "[]", '{"schema": "compressor/run/1"}'])
def test_a_record_that_is_not_whole_is_refused(place: Path, fault: str) -> None:
    (place / "run" / "run.json").write_text(fault)
    done = compressor("verify", "run", cwd=place)
    assert (done.returncode, "U902" in done.stderr) == (2, True), done.stderr
