"""Data sets as people have them, from the command line: which images are evaluated, and what is said of the others."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from compressor.cli.console import Console
from compressor.data.batches import load_batches
from compressor.errors import DatasetError
from compressor.recipe.load import load_recipe
from compressor.results.run import load_run
from compressor.run.pipeline import Options, run
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights


def evaluated(place: Path, data: str | Path, *options: str) -> dict[str, Any]:
    words = ("evaluate", place / "tiny.safetensors", "--data", data, "--image-size", "64", "--device", "cpu", "--json")
    done = compressor(*words, *options, cwd=place)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    return tmp_path


def test_of_two_roots_the_one_of_yolov5_is_taken_and_the_other_named(tiny: Path) -> None:
    (tiny / "work").mkdir()
    shutil.move(tiny / "tiny.safetensors", tiny / "work")
    shutil.copytree(tiny / "images", tiny / "work/images")
    (tiny / "work/images/000.png").unlink()
    text = (tiny / "tiny.yaml").read_text()
    (tiny / "work/data").mkdir()
    (tiny / "work/data/mine.yaml").write_text(text.replace("path: .", f"path: ../../{tiny.name}"))
    assert evaluated(tiny / "work", "data/mine.yaml")["data"]["images"] == 6
    (tiny / "work/data/mine.yaml").write_text(text.replace("path: .", "path: ../"))
    document = evaluated(tiny / "work", "data/mine.yaml")
    assert document["data"]["images"] == 6
    assert document["data"]["skipped"][0].startswith(f"the val images are those of {tiny}/images; the YAML could also ")
    words = ("evaluate", "tiny.safetensors", "--data", "data/mine.yaml", "--image-size", "64", "--device", "cpu")
    done = compressor(*words, cwd=tiny / "work")
    assert (done.stderr.count("could also mean"), done.stdout.count("could also mean")) == (1, 0)  # told before it


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there names of files are text")
def test_a_name_that_is_no_text_costs_no_data_set(tiny: Path) -> None:
    plain = evaluated(tiny, "tiny.yaml")
    for folder, ending in (("images", "png"), ("labels", "txt")):
        (tiny / folder / f"001.{ending}").rename(tiny / folder / f"{os.fsdecode(b'caf%c' % 0xE9)}.{ending}")
    odd = evaluated(tiny, "tiny.yaml", "--batch-size", "1")
    assert (odd["data"]["images"], odd["data"]["instances"]) == (6, plain["data"]["instances"])


def test_an_image_that_is_replaced_between_the_two_evaluations_ends_the_run_by_its_name(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_recipe(tiny)
    monkeypatch.chdir(tiny)
    times = 0

    def replacing(*arguments: Any) -> Any:
        nonlocal times
        times += 1
        if times == 2:
            picture = cv2.imread("images/001.png")
            assert picture is not None
            cv2.imwrite("images/001.png", np.flip(picture, 1))  # of the same size
        return load_batches(*arguments)

    monkeypatch.setattr("compressor.evaluation.predict.load_batches", replacing)
    with pytest.raises(DatasetError, match=r"001\.png: D430"):
        run(load_recipe(tiny / "tiny_half.yaml"), Options(tiny / "run", device="cpu"), Console(quiet=True))
    assert times == 2 and not (tiny / "run").exists()


def renamed(place: Path, *names: str) -> str:
    """A data set YAML like the tiny one, with other names."""
    text = (place / "tiny.yaml").read_text().partition("names:")[0]
    (place / "renamed.yaml").write_text(f"{text}names: {list(names)}\n")
    return "renamed.yaml"


@pytest.mark.parametrize("command", ["evaluate", "apply", "sweep", "sensitivity"])
def test_every_command_that_evaluates_compares_the_names_of_classes(tiny: Path, command: str) -> None:
    tiny_recipe(tiny)
    words = {
        "evaluate": ("tiny.safetensors", "--image-size", "64"),
        "apply": ("tiny_half.yaml", "--output", "run"),
        "sweep": ("tiny_half.yaml", "--over", f"data={renamed(tiny, 'box', 'disc', 'bar')}", "--output", "runs"),
        "sensitivity": ("tiny.safetensors", "--by", "ap", "--image-size", "64", "--sparsities", "0.5"),
    }[command]
    words = (command, *words, "--device", "cpu", *(() if command == "sweep" else ("--data", "renamed.yaml")))
    lists = "the model has disc, box, bar; the data set has "
    done = compressor(*words, "--other-names", cwd=tiny)
    assert done.returncode == 2 and f"D409 the classes are in another order: {lists}box, disc, bar" in done.stderr
    renamed(tiny, "disc", "carton", "BAR")
    done = compressor(*words, cwd=tiny)
    assert done.returncode == 2 and f"D409 1 of 3 classes have other names: {lists}disc, carton, BAR" in done.stderr
    if command in ("evaluate", "apply"):
        done = compressor(*words, "--other-names", cwd=tiny)
        told = f"1 of 3 classes have other names, which was accepted: {lists}disc, carton, BAR"
        assert done.returncode == 0 and told in done.stderr
        if command == "apply":
            record = json.loads((tiny / "run/run.json").read_text())
            assert record["recipe"]["evaluation"]["other_names"] is True and told in record["warnings"]
            assert told in record["compressed"]["data"]["skipped"] and told in (tiny / "run/report.md").read_text()


def test_a_model_without_names_is_evaluated_and_that_is_said(tiny: Path) -> None:
    document = evaluated(tiny, renamed(tiny, "class0", "class1", "class2"))
    assert document["data"]["skipped"] == [
        "the data set does not name its classes (class0, class1, class2): they are taken by their number"
    ]


def test_calibration_images_that_are_not_there_are_said_once_and_recorded(tiny: Path) -> None:
    (tiny / "some.txt").write_text("\n".join([*(f"images/{i:03}.png" for i in range(3)), "gone.png"]))
    (tiny / "some.yaml").write_text("path: .\ntrain: some.txt\nval: some.txt\nnames: {0: a}\n")
    recipe = tiny_recipe(tiny, "repaired")
    calibration = "{data: some.yaml, split: train, images: 3, image_size: 64, judged: true}"
    repair = f"  - {{type: repair, method: bias, calibration: {calibration}}}\nevaluation:"
    recipe.write_text(recipe.read_text().replace("evaluation:", repair))
    done = compressor("apply", recipe.name, "--output", "run", cwd=tiny)
    assert done.returncode == 0, done.stderr
    sentence = "1 of the 4 images to calibrate with are listed and not there, such as gone.png: they are left out"
    assert (done.stdout + done.stderr).count(sentence) == 1
    assert sentence in load_run(tiny / "run").warnings
    assert sentence in (tiny / "run" / "report.md").read_text()
    planned = compressor("plan", recipe.name, "--json", cwd=tiny)
    assert sentence in json.loads(planned.stdout)["warnings"]
