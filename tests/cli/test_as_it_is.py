"""A recipe without `modifiers`: the model is evaluated, packed and reported as it is, by every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compressor.artifact.load import load_model
from compressor.artifact.save import Form, Provenance, encode_model
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.recipe.modifiers import Prune
from compressor.results.run import load_run
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_model

RECIPE = (
    "version: 1\nmodel: {weights: pruned.safetensors, fuse: never}\ndata: tiny.yaml\nevaluation: {image_size: 64}\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a model of which 60 % is zero already."""
    folder = tmp_path_factory.mktemp("as_it_is")
    model = tiny_model()
    half = Prune.model_validate({"type": "prune", "sparsity": 0.6, "allocation": "uniform"})
    prune(convolutions(model), half)
    made = encode_model(model, Form("float32", "bitmask"), Provenance({}, "tiny", "0" * 64))
    (folder / "pruned.safetensors").write_bytes(made)
    tiny_data(folder, images=3)
    (folder / "r.yaml").write_text(RECIPE)
    done = compressor("apply", "r.yaml", "--set", "artifact.dtype=float32", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_run_evaluates_and_packs_the_same_model(place: Path) -> None:
    run = load_run(place / "reports" / "r")
    assert run.changes == ()
    assert run.sparsity.targeted is None
    assert run.sparsity.conv_weights == pytest.approx(0.6, abs=1e-3)
    assert run.baseline is not None and run.compressed is not None
    assert run.baseline.metrics == run.compressed.metrics
    before, after = (load_model(place / name).model for name in ("pruned.safetensors", "reports/r/model.safetensors"))
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    assert run.sizes.artifact.size_bytes < run.sizes.dense.size_bytes


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("check", "r.yaml"), 0, "r.yaml: ok"),
        (("check", "r.yaml", "--resolved"), 0, "version: 1\n"),
        (("plan", "r.yaml", "--force"), 0, "of all convolution weights              60.0"),
        (("report", "reports/r"), 0, ""),
        (("diff", "reports/r", "reports/r"), 0, ""),
        (("verify", "reports/r", "--evaluate"), 0, "evaluated again"),
        (("compare", "reports/r"), 0, "60.0"),
        (
            ("sweep", "r.yaml", "--over", "evaluation.max_det=10,20", "--set", "evaluation.baseline=false"),
            0,
            "max_det=10",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_command_takes_it(place: Path, words: tuple[str, ...], code: int, told: str) -> None:
    done = compressor(*words, cwd=place)
    assert done.returncode == code, done.stderr
    assert told in done.stdout
    assert "modifiers" not in done.stdout


def test_what_is_resolved_is_the_same_recipe_again(place: Path) -> None:
    text = compressor("check", "r.yaml", "--resolved", cwd=place).stdout
    (place / "again.yaml").write_text(text)
    assert compressor("check", "again.yaml", "--resolved", cwd=place).stdout == text
    document = json.loads(compressor("check", "r.yaml", "--resolved", "--format", "json", cwd=place).stdout)
    assert "modifiers" not in document["recipes"][0]["resolved"]


def test_an_empty_list_stays_an_error_that_says_how(place: Path) -> None:
    (place / "empty.yaml").write_text(RECIPE + "modifiers: []\n")
    for command in ("check", "plan", "apply"):
        done = compressor(command, "empty.yaml", cwd=place)
        assert (done.returncode, "R103 modifiers must not be empty" in done.stderr) == (2, True)
        assert "take the key out" in done.stderr


@pytest.mark.parametrize(("sparsity", "held"), [(0.4, "sparser"), (0.6, "as sparse")])
def test_asking_for_no_more_than_there_is_says_so(sparsity: float, held: str, place: Path) -> None:
    less = f"modifiers:\n  - {{type: prune, allocation: uniform, sparsity: {sparsity}}}\n"
    (place / "less.yaml").write_text(RECIPE + less)
    done = compressor("plan", "less.yaml", cwd=place)
    assert done.returncode == 2
    assert f"P205 modifiers[0] makes no difference: its layers are {held} already, 60.0" in done.stderr
    assert "leave the key `modifiers` out" in done.stderr


@pytest.mark.parametrize("name", ["m.onnx", "m.torchscript", "folder"])
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_graph_as_weights_is_told_what_to_name_instead(command: str, name: str, place: Path) -> None:
    (place / "folder").mkdir(exist_ok=True)
    for file in ("m.onnx", "m.torchscript", "folder/m.xml"):
        (place / file).write_bytes(b"graph")
    done = compressor(command, "r.yaml", "--weights", name, "--output", "graph", cwd=place)
    assert (done.returncode, f"{name}: W302 this is a graph for" in done.stderr) == (2, True), done.stderr
    assert "name the .pt or .safetensors that it was exported from" in done.stderr


def test_warnings_that_move_figures_are_shown_without_asking(place: Path) -> None:
    (place / "labels" / "001.txt").write_text((place / "labels" / "001.txt").read_text() + "\n" + "7 2 2 2 2\n")
    for words in (
        ("plan", "r.yaml", "--force"),
        ("evaluate", "pruned.safetensors", "--data", "tiny.yaml", "--image-size", "64", "-q"),
        ("evaluate", "pruned.safetensors", "--data", "tiny.yaml", "--image-size", "64", "--json"),
        ("apply", "r.yaml", "--output", "warned", "--set", "evaluation.baseline=false"),
    ):
        done = compressor(*words, cwd=place)
        assert done.returncode == 0, done.stderr
        assert "images/001.png: left out, its label file labels/001.txt is invalid" in done.stdout + done.stderr
