"""`compressor export` from end to end, and `evaluate` on what it writes."""

import json
from pathlib import Path

import pytest

from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model pruned by half."""
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    recipe = tiny_recipe(folder, "tiny_half").name
    done = compressor("apply", recipe, "--no-evaluate", "--output", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def average_precision(place: Path, weights: str) -> float:
    done = compressor("evaluate", weights, "--data", "tiny.yaml", "--image-size", "64", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    value: float = json.loads(done.stdout)["metrics"]["coco"]["AP"]
    return value


@pytest.mark.parametrize(("form", "name"), [("yolov5", "half.pt"), ("dense", "half.safetensors")])
def test_a_pruned_model_goes_out_with_its_zeros(place: Path, form: str, name: str) -> None:
    done = compressor("export", "run/model.safetensors", "--format", form, "--output", name, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: ")
    assert "by at most" in done.stdout
    assert ("YOLOv5's own training keeps no zeros" in done.stderr) == (form == "yolov5")
    seen = json.loads(compressor("inspect", name, "--json", cwd=place).stdout)
    source = json.loads(compressor("inspect", "run/model.safetensors", "--json", cwd=place).stdout)
    for key in ("names", "anchors", "sparsity", "dtype"):
        assert seen[key] == source[key], key
    assert [layer["zeros"] for layer in seen["layers"]] == [layer["zeros"] for layer in source["layers"]]
    assert average_precision(place, name) == average_precision(place, "run/model.safetensors")


def test_a_graph_is_judged_by_its_runtime(place: Path) -> None:
    done = compressor("export", "run/model.safetensors", "--format", "onnx", "--image-size", "64", cwd=place)
    assert done.returncode == 0, done.stderr
    arguments = ("evaluate", "model.onnx", "--data", "tiny.yaml", "--image-size", "64")
    document = json.loads(compressor(*arguments, "--json", cwd=place).stdout)
    assert document["settings"]["runs_on"].startswith("onnxruntime")
    assert document["model"] is None
    assert "COCO metrics" in compressor(*arguments, cwd=place).stdout


def test_nothing_is_overwritten_unless_asked_to(place: Path) -> None:
    command = ("export", "run/model.safetensors", "--format", "dense", "--output", "kept.safetensors")
    assert compressor(*command, cwd=place).returncode == 0
    again = compressor(*command, cwd=place)
    assert (again.returncode, "O601" in again.stderr) == (2, True)
    assert compressor(*command, "--force", cwd=place).returncode == 0
    (place / "notes.txt").write_text("mine")
    other = compressor(*command[:-1], "notes.txt", "--force", cwd=place)
    assert (other.returncode, ".safetensors" in other.stderr) == (2, True)
    assert (place / "notes.txt").read_text() == "mine"
    source = (place / "run" / "model.safetensors").read_bytes()
    (place / "copy.safetensors").write_bytes(source)
    for output in ("run/model.safetensors", "copy.safetensors"):
        other = compressor(*command[:-1], output, "--force", cwd=place)
        assert other.returncode == 2, other.stderr
        assert (place / output).read_bytes() == source
    assert not list(place.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "yolov5", "--image-size", "64"), "--image-size"),
        (("--format", "torchscript", "--dynamic-size"), "--dynamic-size"),
        (("--format", "openvino", "--nms"), "--nms"),
        (("--format", "onnx", "--conf-thres", "0.1"), "--conf-thres"),
        (("--format", "onnxx"), "'onnxx' is not one of"),
        (("--format", "onnx", "--output", "x.pt"), "ends in .onnx"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(place: Path, arguments: tuple[str, ...], words: str) -> None:
    done = compressor("export", "run/model.safetensors", *arguments, cwd=place)
    assert done.returncode == 2
    assert words in done.stderr
