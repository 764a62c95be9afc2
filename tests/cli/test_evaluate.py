"""`compressor evaluate`: what works out the figures, in which number type, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact.save import Form, Provenance, encode_model
from tests.evaluation.test_diagnosis import overflowing
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_weights

EMBEDDED = Path(__file__).parents[2] / "compressor" / "data" / "weights" / "yolov5_shapes.safetensors"


def judged(place: Path, *options: str) -> dict[str, Any]:
    words = ("evaluate", EMBEDDED, "--data", "shapes.yaml", "--image-size", "64", "--device", "cpu", "--json")
    done = compressor(*words, *options, cwd=place)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_both_engines_tell_the_same_figures_and_which_told_them(tmp_path: Path) -> None:
    ours, theirs = judged(tmp_path), judged(tmp_path, "--coco-engine", "pycocotools")
    assert ours["metrics"]["coco"] == theirs["metrics"]["coco"]
    assert ours["metrics"]["coco"]["AP"] > 0.1
    assert (ours["settings"]["coco_engine"], theirs["settings"]["coco_engine"]) == ("compiled", "pycocotools")


def test_bfloat16_is_told_and_close(tmp_path: Path) -> None:
    whole, half = judged(tmp_path), judged(tmp_path, "--precision", "bfloat16")
    assert (whole["settings"]["precision"], half["settings"]["precision"]) == ("float32", "bfloat16")
    assert half["metrics"]["coco"]["AP"] == pytest.approx(whole["metrics"]["coco"]["AP"], abs=0.02)
    assert half["metrics"]["coco"] != whole["metrics"]["coco"]


def test_a_graph_keeps_its_own_number_type(tmp_path: Path) -> None:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    export = (
        "export",
        "tiny.safetensors",
        "--format",
        "torchscript",
        "--image-size",
        "64",
        "--output",
        "t.torchscript",
    )
    assert compressor(*export, cwd=tmp_path).returncode == 0
    done = compressor("evaluate", "t.torchscript", "--data", "tiny.yaml", "--precision", "bfloat16", cwd=tmp_path)
    assert done.returncode == 2
    assert "--precision: U909 bfloat16 is for models that torch runs" in done.stderr


def test_outputs_that_are_not_finite_are_refused_with_their_image_and_layer(tmp_path: Path) -> None:
    tiny_data(tmp_path)
    form = Form("float32", "dense", fold_on_load=False)
    (tmp_path / "x.safetensors").write_bytes(encode_model(overflowing(), form, Provenance({}, "x.pt", "0" * 64)))
    done = compressor("evaluate", "x.safetensors", "--data", "tiny.yaml", "--image-size", "64", cwd=tmp_path)
    assert done.returncode == 3
    assert "E811 the model's outputs are not finite numbers on " in done.stderr
    assert ".png" in done.stderr and "model.4.cv2.conv" in done.stderr


def test_objects_in_no_figure_are_told_without_being_asked_and_in_json(tmp_path: Path) -> None:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    (tmp_path / "labels" / "gone.txt").write_text("2 .5 .5 .5 .5\n")
    (tmp_path / "labels" / "001.txt").write_text("0 .5 .5 .5\n")
    command = ("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--image-size", "64")
    done = compressor(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "\nAbout the data\n  1 object not evaluated because the image was left out (disc 1; labels/001.txt)\n"
        in done.stdout
    )
    assert "  1 object not evaluated because the label file has no image (bar 1; labels/gone.txt)\n" in done.stdout
    assert "  images/001.png: left out, its label file labels/001.txt is invalid" in done.stdout
    document = json.loads(compressor(*command, "--json", cwd=tmp_path).stdout)
    assert [(each["reason"], each["objects"]) for each in document["data"]["not_evaluated"]] == [
        ("image left out", 1),
        ("image missing", 1),
    ]
