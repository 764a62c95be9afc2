"""Modifiers of new kinds, added by patches that touch their own two files, the union and the match, and nothing else.

Each patch is applied to a copy of the package and used from the command line: a kind that alters shapes, and one that
alters number formats.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compressor.artifact.load import load_model
from trials.tiny import tiny_data, tiny_weights

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "guests"
SHARED = ("compressor/modifiers/behaviours.py", "compressor/recipe/modifiers/__init__.py")  # the match and the union


def touched(kind: str) -> list[str]:
    lines = (PATCHES / f"{kind}.patch").read_text(encoding="utf-8").splitlines()
    return sorted(line.removeprefix("+++ b/") for line in lines if line.startswith("+++ b/"))


@pytest.mark.parametrize("kind", ["narrow", "keep_format"])
def test_a_patch_touches_its_own_two_files_the_union_and_the_match(kind: str) -> None:
    own = [f"compressor/modifiers/{kind}.py", f"compressor/recipe/modifiers/{kind}.py"]
    assert touched(kind) == sorted([*own, *SHARED])
    changed = [line for line in (PATCHES / f"{kind}.patch").read_text(encoding="utf-8").split("diff --git") if line]
    for part in changed:
        if any(name in part.splitlines()[0] for name in SHARED):
            assert sum(line.startswith("+") and not line.startswith("+++") for line in part.splitlines()) <= 5


class Guest:
    """A copy of the package with one more modifier, and a folder to use it in."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "compressor", folder / "compressor")  # with what Numba has compiled
        patch = ["git", "apply", str(PATCHES / f"{kind}.patch")]
        subprocess.run(patch, cwd=folder, check=True, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)})
        tiny_weights(folder)
        self.data = tiny_data(folder)

    def __call__(self, *args: str) -> str:
        """What a command prints."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "compressor", *args]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def recipe(self, name: str, *steps: str) -> str:
        """A recipe with these steps."""
        lines = "".join(f"  - {{{step}}}\n" for step in steps)
        text = f"version: 1\nmodel: {{weights: tiny.safetensors}}\ndata: {self.data}\nmodifiers:\n{lines}"
        (self.folder / name).write_text(f"{text}evaluation: {{image_size: 64}}\n", encoding="utf-8")
        return name


PRUNE = "type: prune, targets: [backbone], allocation: uniform, sparsity: 0.5"


def test_a_modifier_that_alters_shapes(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "narrow")
    narrow = "type: narrow, layer: model.2.m.0.cv1.conv, channels: {}"
    recipes = [guest.recipe(f"{n}.yaml", PRUNE, narrow.format(n)) for n in (3, 2)]
    assert "ok" in guest("check", recipes[0])
    planned = guest("plan", recipes[0])
    assert "narrow model.2.m.0.cv1.conv to 3 channels" in planned and "shape after" in planned
    guest("apply", recipes[0], "--output", "3")
    guest("apply", recipes[1], "--output", "2", "--no-evaluate")
    model = load_model(tmp_path / "3" / "model.safetensors").model
    assert model.state_dict()["model.2.m.0.cv1.conv.weight"].shape[0] == 3
    assert "1 other widths" in guest("inspect", "3/model.safetensors")
    assert "| shape after" in (tmp_path / "3" / "report.md").read_text(encoding="utf-8")
    record = json.loads((tmp_path / "3" / "run.json").read_text(encoding="utf-8"))
    assert record["changes"][1]["alters"] == ["shapes"]
    names = [each["name"] for each in record["changes"][1]["effects"]]
    assert names == ["model.2.m.0.cv1.conv", "model.2.m.0.cv2.conv"]
    assert "modifiers.1.channels" in guest("diff", "3", "2")
    guest("report", "3", "--output", "again.md")


def test_a_modifier_that_alters_number_formats(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "keep_format")
    recipe = guest.recipe("r.yaml", PRUNE, "type: keep_format, targets: [detect], format: float32")
    other = guest.recipe("p.yaml", PRUNE)
    sizes = json.loads(guest("plan", recipe, "--json"))["sizes"]
    for each in (recipe, other):
        guest("apply", each, "--output", Path(each).stem, "--no-evaluate")
    loaded = load_model(tmp_path / "r" / "model.safetensors")
    assert loaded.origin is not None
    detect = {name for name in loaded.model.state_dict() if name.startswith("model.24.m.") and name.endswith("weight")}
    assert loaded.origin.form.formats == dict.fromkeys(detect, "float32")
    size_bytes = (tmp_path / "r" / "model.safetensors").stat().st_size
    assert [each["size_bytes"] for each in sizes if (each["dtype"], each["layout"]) == ("float16", "bitmask")] == [
        size_bytes
    ]
    assert size_bytes > (tmp_path / "p" / "model.safetensors").stat().st_size
    assert "| format after" in (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    assert "keep_format" in guest("diff", "p", "r")
