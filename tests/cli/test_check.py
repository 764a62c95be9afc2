"""`compressor check`, end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from compressor.recipe.load import load_recipe
from compressor.recipe.overrides import parse_set
from compressor.tasks.check import check_recipe
from trials.commands import compressor

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))

GOOD = "version: 1\nmodifiers:\n  - {type: prune, allocation: uniform, sparsity: 0.3}\n"
BAD = "version: 1\nmodifiers:\n  - {type: prune, targets: [bakcbone], allocation: uniform, sparsity: 1.5}\n"
FAULTS_OF_BAD = (
    "bad.yaml:3:29: P201 'bakcbone' matches no layer of the model\n"
    "  help: did you mean 'backbone'?\n"
    "bad.yaml:3:71: R103 modifiers[0].sparsity must be below 1, got 1.5\n"
    "  help: sparsity is a fraction; to zero 1.5 % of the weights write 0.015\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in {"good.yaml": GOOD, "bad.yaml": BAD, "other.yaml": GOOD}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def document(text: str) -> dict[str, Any]:
    loaded = json.loads(text)
    assert isinstance(loaded, dict)
    return loaded


def test_shipped_recipes_are_right(tmp_path: Path) -> None:
    assert len(SHIPPED) > 10
    done = compressor("check", *SHIPPED, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"{path.as_posix()}: ok\n" for path in SHIPPED)


def test_one_bad_among_good(place: Path) -> None:
    done = compressor("check", "good.yaml", "bad.yaml", "other.yaml", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (2, "good.yaml: ok\nother.yaml: ok\n", FAULTS_OF_BAD)


def test_quiet_prints_faults_only(place: Path) -> None:
    done = compressor("check", "--quiet", "good.yaml", "bad.yaml", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", FAULTS_OF_BAD)
    assert compressor("check", "-q", "good.yaml", cwd=place).returncode == 0


def test_codes_are_red_in_colour(place: Path) -> None:
    done = compressor("check", "--color", "always", "bad.yaml", cwd=place)
    assert "\x1b[31m\x1b[1mR103\x1b[0m" in done.stderr


def test_no_recipe_is_a_usage_error(tmp_path: Path) -> None:
    done = compressor("check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "check: U920 missing argument 'RECIPE...'" in done.stderr


def test_folder_and_missing_file_are_faults(place: Path) -> None:
    (place / "folder").mkdir()
    done = compressor("check", "folder", "god.yaml", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "folder: R108 cannot read the recipe: Is a directory\n"
        "  help: name a file in it\n"
        "god.yaml: R108 cannot read the recipe: No such file or directory\n"
        "  help: did you mean 'good.yaml'?\n"
    )


def test_fault_in_an_extended_file_is_told_for_each_recipe(place: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (place / name).write_text("extends: bad.yaml\ndescription: more\n", encoding="utf-8")
    done = compressor("check", "a.yaml", "b.yaml", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", FAULTS_OF_BAD * 2)
    entries = document(compressor("check", "a.yaml", "b.yaml", "--format", "json", cwd=place).stdout)["recipes"]
    assert [entry["path"] for entry in entries] == ["a.yaml", "b.yaml"]
    assert [fault["path"] for entry in entries for fault in entry["faults"]] == ["bad.yaml"] * 4


def test_fault_in_a_file_extended_on_two_ways_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nversion: 1\n", encoding="utf-8")
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("extends: base.yaml\n", encoding="utf-8")
    (tmp_path / "both.yaml").write_text(f"extends: [a.yaml, b.yaml]\n{GOOD}", encoding="utf-8")
    done = compressor("check", "both.yaml", cwd=tmp_path)
    assert done.stderr == (
        "base.yaml:2:1: R106 the key 'version' is written twice (first on line 1)\n  help: keep one of the two\n"
    )


def test_set_and_weights_count_for_every_recipe(place: Path) -> None:
    done = compressor("check", "good.yaml", "other.yaml", "--set", "modifiers.0.sparsity=2", cwd=place)
    told = (
        "--set modifiers.0.sparsity=2: R103 modifiers[0].sparsity must be below 1, got 2\n"
        "  help: sparsity is a fraction; to zero 2 % of the weights write 0.02\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told * 2)
    done = compressor("check", "good.yaml", "--weights", "", cwd=place)
    assert done.returncode == 2
    assert done.stderr.startswith("--weights: R103 model.weights ")
    mended = compressor("check", "bad.yaml", "--set", "modifiers.0.sparsity=0.5", "--set=modifiers.0.targets=[neck]",
                        cwd=place)  # fmt: skip
    assert (mended.returncode, mended.stdout, mended.stderr) == (0, "bad.yaml: ok\n", "")


def test_names_of_layers_are_judged_by_the_weights(place: Path) -> None:
    recipe = GOOD.replace("type: prune", "type: prune, targets: [model.99.conv]")
    (place / "named.yaml").write_text(recipe, encoding="utf-8")
    stock = compressor("check", "named.yaml", "--weights", "yolov5x.pt", cwd=place)
    assert (stock.returncode, stock.stderr.split()[1]) == (2, "P201")
    assert compressor("check", "named.yaml", "--weights", "mine.pt", cwd=place).returncode == 0


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_set_that_is_no_pair_ends_the_command(form: str, place: Path) -> None:
    done = compressor("check", "good.yaml", "--set", "sparsity", "--format", form, cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--set sparsity: R110 not of the form path=value\n")


def test_json_is_one_document(place: Path) -> None:
    done = compressor("check", "good.yaml", "bad.yaml", "--format", "json", cwd=place)
    assert (done.returncode, done.stderr) == (2, "")
    fault = {
        "code": "R103",
        "message": "modifiers[0].sparsity must be below 1, got 1.5",
        "path": "bad.yaml",
        "line": 3,
        "column": 71,
        "help": "sparsity is a fraction; to zero 1.5 % of the weights write 0.015",
    }
    read = document(done.stdout)
    good, bad = read.pop("recipes")
    assert read == {"schema": "compressor/check/1", "ok": False}
    assert good == {"path": "good.yaml", "ok": True, "faults": []}
    assert (bad["path"], bad["ok"], bad["faults"][1]) == ("bad.yaml", False, fault)
    done = compressor("check", "good.yaml", "--format", "json", cwd=place)
    assert (done.returncode, document(done.stdout)["ok"]) == (0, True)


def test_json_holds_resolved_values_where_asked_for(place: Path) -> None:
    done = compressor("check", "good.yaml", "bad.yaml", "--format", "json", "--resolved",
                      "--set", "description=costs $${5}", cwd=place)  # fmt: skip
    good, bad = document(done.stdout)["recipes"]
    assert good["resolved"]["description"] == "costs ${5}"
    assert good["resolved"]["modifiers"][0]["sparsity"] == 0.3
    assert "weights" not in good["resolved"]["model"]
    assert bad["resolved"] is None


def test_github_gets_one_annotation_per_fault(place: Path) -> None:
    done = compressor("check", "good.yaml", "bad.yaml", "--format", "github", cwd=place)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == (
        "::error file=bad.yaml,line=3,col=29,title=P201::'bakcbone' matches no layer of the model"
        "%0Ahelp: did you mean 'backbone'?\n"
        "::error file=bad.yaml,line=3,col=71,title=R103::modifiers[0].sparsity must be below 1, got 1.5"
        "%0Ahelp: sparsity is a fraction; to zero 1.5 %25 of the weights write 0.015\n"
    )
    done = compressor("check", "good.yaml", "--format", "github", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_github_commands_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "50%,a:b\n.yaml").write_text("version: 3\r\nmodifiers: {'a,b:c%\\n': 1}\n", encoding="utf-8")
    done = compressor("check", "50%,a:b\n.yaml", "--format", "github", cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    start = "::error file=50%25%2Ca%3Ab%0A.yaml,line="
    assert lines[0].startswith(f"{start}1,col=10,title=R103::version must be at most 1, got 3")
    assert all(line.startswith(start) for line in lines)


def test_github_shows_the_fault_of_a_flag_at_the_recipe(place: Path) -> None:
    done = compressor("check", "good.yaml", "--format", "github", "--set", "modifiers.0.sparsity=2", cwd=place)
    assert done.stdout == (
        "::error file=good.yaml,title=R103::--set modifiers.0.sparsity=2: modifiers[0].sparsity must be below 1, got 2"
        "%0Ahelp: sparsity is a fraction; to zero 2 %25 of the weights write 0.02\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_file_name_that_is_no_text_is_no_crash(form: str, tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"\xff.yaml", b"bad\xff.yaml")]
    for name, text in zip(names, (GOOD, BAD), strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "compressor", "check", *names, "--format", form]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"E899" not in done.stderr
    assert b"R108" in done.stdout + done.stderr


def test_resolved_and_github_cannot_be_combined(place: Path) -> None:
    done = compressor("check", "good.yaml", "--format", "github", "--resolved", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr
    assert "--resolved" in done.stderr


RESOLVED = """version: 1
description: keep $${this}
model:
  weights: mine.pt
  fuse: before
modifiers:
- type: prune
  targets:
  - "*"
  ignore: []
  pattern: unstructured
  score: magnitude
  allocation: lamp
  sparsity: 0.6
evaluation:
  baseline: true
  split: val
  image_size: 640
  batch_size: 32
  conf_thres: 0.001
  iou_thres: 0.65
  max_det: 300
  resize: ceil
  precision: auto
  coco_engine: compiled
  other_names: false
artifact:
  dtype: float16
  layout: bitmask
exports: []
report:
  examples: 4
  fail_if: []
"""


def test_resolved_fills_in_everything(place: Path) -> None:
    own = "extends: good.yaml\nvariables: {half: 0.3}\ndescription: keep $${this}\nmodifiers:\n"
    entry = "  - {type: prune, allocation: uniform, sparsity: '${2 * half}'}\n"
    (place / "own.yaml").write_text(own + entry, encoding="utf-8")
    options = ("--resolved", "--set", "modifiers.0.allocation=lamp", "--weights", "mine.pt")
    done = compressor("check", "own.yaml", *options, cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (0, RESOLVED, "")


def test_several_resolved_recipes_are_parted_and_named(place: Path) -> None:
    done = compressor("check", "bad.yaml", "good.yaml", "other.yaml", "--resolved", "-q", cwd=place)
    assert (done.returncode, done.stderr) == (2, FAULTS_OF_BAD)
    first, second = done.stdout.split("---\n")
    assert first.startswith("# good.yaml\nversion: 1\n")
    assert second == first.replace("good", "other")
    assert len(list(yaml.safe_load_all(done.stdout))) == 2


def test_overrides_are_those_of_apply(place: Path) -> None:
    overrides = (parse_set("modifiers.0.sparsity=0.4"),)
    assert check_recipe(place / "good.yaml", overrides).recipe == load_recipe(place / "good.yaml", overrides).recipe


NO_TORCH = """
import sys
from compressor.__main__ import main
try:
    main()
finally:
    print([module for module in ("torch", "cv2", "numpy", "pycocotools") if module in sys.modules], file=sys.stderr)
"""


def test_checks_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_TORCH, "check", *map(str, SHIPPED), "--resolved"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert len(list(yaml.safe_load_all(done.stdout))) == len(SHIPPED)
