"""A fault is told at the place where its cause was written: a file that is extended, a flag, a variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.errors import RecipeError
from compressor.recipe.load import in_file_order, read_draft
from compressor.recipe.overrides import Override, parse_set
from compressor.tasks.check import stock_misfits

BASE = """\
version: 1
variables: {share: 0.5, role: neck}
model:
  weights: yolov5s.pt
modifiers:
  - type: prune
    allocation: lamp
    sparsity: ${share}
    targets: ["${role}"]
  - type: prune
    allocation: lamp
    sparsity:
      backbone: 0.3
      detect: 0.2
evaluation: {image_size: 640}
"""


def faults_of(folder: Path, text: str, *sets: str) -> list[str]:
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    (folder / "r.yaml").write_text(text, encoding="utf-8")
    draft = read_draft(folder / "r.yaml", tuple(map(parse_set, sets)))
    found = in_file_order([*draft.faults, *stock_misfits(draft)])
    texts = []
    for fault in found:
        place = [fault.path or "", *(str(part) for part in (fault.line, fault.column) if part)]
        texts.append(f"{':'.join(place)}: {fault.code} {fault.message}".replace(f"{folder.as_posix()}/", ""))
    return texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: base.yaml\n", []),
        (
            "extends: base.yaml\nvariables: {share: 2}\n",
            ["base.yaml:8:15: R103 modifiers[0].sparsity must be below 1, got 2 from ${share}"],
        ),
        (
            "extends: base.yaml\nvariables:\n  share: ${1 / 0}\n",
            ["r.yaml:3:10: R117 ${1 / 0} cannot be evaluated: a division by zero"],
        ),
        (
            "extends: base.yaml\nvariables: {share: 0.1, role: nek}\n",
            ["base.yaml:9:15: P201 'nek' matches no layer of the model"],
        ),
        (
            "extends: base.yaml\nvariables: {shar: 0.1}\n",
            ["r.yaml:2:19: R118 the variable 'shar' is used nowhere"],
        ),
        (
            "extends: base.yaml\nevaluation: {image_size: 3, max_det: 0}\n",
            [
                "r.yaml:2:26: R103 evaluation.image_size must be at least 32, got 3",
                "r.yaml:2:38: R103 evaluation.max_det must be at least 1, got 0",
            ],
        ),
        (
            "extends: base.yaml\nmodel: {weights: x.pt, wieghts: y.pt}\n",
            ["r.yaml:2:24: R101 unknown key 'wieghts' in model"],
        ),
        (
            "extends: base.yaml\nmodifiers:\n  - {type: prune}\n",
            [
                "r.yaml:3:5: R102 modifiers[0].allocation is missing",
                "r.yaml:3:5: R102 modifiers[0].sparsity is missing",
            ],
        ),
        ("extends: base.yaml\nmodel:\n", ["r.yaml:2:7: R104 model has no value"]),
        ("extends: base.yaml\nmodel: ~\n", ["r.yaml:2:8: R104 model must be a mapping of keys to values, got nothing"]),
        (
            "extends: base.yaml\ndescription: |\n  one\n  two\nartifact: {dtype: int8}\n",
            ["r.yaml:5:19: R105 artifact.dtype must be 'float16' or 'float32', got the text 'int8'"],
        ),
    ],
)
def test_fault_names_the_file_its_cause_stands_in(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert faults_of(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("modifiers.0.targets=[backbon]", ["FLAG: P201 'backbon' matches no layer of the model"]),
        ("modifiers.0.targets=[detect]", []),
        ("modifiers.0.ignore=[detect]", ["FLAG: P207 'detect' leaves nothing out: none of its layers is targeted"]),
        ("modifiers.0.sparsity=1.0e-9", ["FLAG: P204 sparsity 1e-09 of 2,826,240 targeted weights takes no weight"]),
        ("modifiers.1.sparsity.nek=0.1", ["FLAG: P201 'nek' matches no layer of the model"]),
        (
            "modifiers.1.sparsity.detect=1.5",
            ["FLAG: R103 modifiers[1].sparsity.detect must be below 1, got 1.5"],
        ),
        ("modifiers.1.sparsity={neck: 0.1, nek: 0.2}", ["FLAG: P201 'nek' matches no layer of the model"]),
        ("variables.share=[1]", ["FLAG: R104 variables.share must be a number, text, true or false"]),
        ("variables.share=1e-3", ["FLAG: R107 YAML reads 1e-3 as text"]),
        ("variables.share=${2 * nothing}", ["FLAG: R116 there is no variable 'nothing'"]),
        ("variables.share=${share}", ["FLAG: R119 variables refer to one another in a circle: share -> share"]),
        ("variables.extra=1", ["FLAG: R118 the variable 'extra' is used nowhere"]),
        ("variables.my-share=1", ["FLAG: R104 'my-share' cannot name a variable"]),
        (
            "variables.share=30",
            ["base.yaml:8:15: R103 modifiers[0].sparsity must be below 1, got 30 from ${share}"],
        ),
        (
            "modifiers.0={type: prun, sparsity: 30, allocation: lamp}",
            [
                "FLAG: R105 modifiers[0].type must be 'prune' or 'repair', got the text 'prun'",
                "FLAG: R103 modifiers[0].sparsity must be below 1, got 30",
            ],
        ),
        (
            "evaluation={baseline: yes, split: vall}",
            [
                "FLAG: R107 YAML reads yes as a truth value",
                "FLAG: R105 evaluation.split must be 'train', 'val' or 'test', got the text 'vall'",
            ],
        ),
        ("evaluation={max_det: }", ["FLAG: R104 evaluation.max_det has no value"]),
        ("evaluation.max_det=#3", ["FLAG: R110 no value: what follows # is a comment"]),
        ("model.weights.name=a.pt", ["FLAG: R110 model.weights is a single value and holds no key 'name'"]),
        ("modifiers.7.sparsity=0.1", ["FLAG: R110 there is no position 7 in a list of 2 (positions count from 0)"]),
        ("modifiers.x.sparsity=0.1", ["FLAG: R110 there is no position x in a list of 2 (positions count from 0)"]),
        ("evaluation={image_size: 640", ["FLAG: R100 not valid YAML: this { is not closed"]),
        (
            "evaluation=!!set {a}",
            ["FLAG: R107 the YAML tag !!set is not allowed", "FLAG: R104 evaluation.a has no value"],
        ),
        (
            "data={a: 1, a: 2}",
            [
                "FLAG: R106 the key 'a' is written twice (first on line 1)",
                "FLAG: R104 data must be text, got a mapping",
            ],
        ),
    ],
)
def test_fault_of_an_override_names_the_flag(tmp_path: Path, argument: str, expected: list[str]) -> None:
    flag = f"--set {argument}"
    assert faults_of(tmp_path, "extends: base.yaml\n", argument) == [text.replace("FLAG", flag) for text in expected]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("evaluation.image_size.=3", "not of the form path=value"),
        ("=3", "not of the form path=value"),
        ("evaluation.image_size", "not of the form path=value"),
        ("evaluation.image_size=", "no value for evaluation.image_size"),
        ("evaluation.image_size= ", "no value for evaluation.image_size"),
        (f"{'a.' * 3000}a=1", "no key of a recipe lies this deep"),
    ],
)
def test_argument_that_is_no_override_is_refused(argument: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_set(argument)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.message) == ("R110", message)
    assert len(str(fault)) < 500


def test_absurd_overrides_are_told_and_stay_readable(tmp_path: Path) -> None:
    for argument in (f"modifiers.{'9' * 5000}.sparsity=1", f"data={'[' * 5000}", f"description={'9' * 5000}"):
        (fault,) = faults_of(tmp_path, "extends: base.yaml\n", argument)
        assert fault.startswith("--set ")
        assert len(fault) < 500


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ('"[key]": 1', 1, "R101 unknown key '[key]' in the recipe"),
        ('"one for all": 1', 1, "R101 unknown key 'one for all' in the recipe"),
        ("data: null", 7, "R104 data has no value"),
        ('model: {weights: " "}', 18, "R103 model.weights must not be empty"),
    ],
)
def test_keys_and_names_that_look_like_something_else(tmp_path: Path, line: str, column: int, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"version: 1\nmodifiers:\n  - {{type: prune, allocation: erk, sparsity: 0.3}}\n{line}\n")
    (fault,) = read_draft(path).faults
    assert (fault.line, fault.column, f"{fault.code} {fault.message}") == (4, column, message)


def test_weights_whose_name_is_no_text_are_refused_by_their_flag(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(BASE, encoding="utf-8")
    weights = Override(("model", "weights"), "\udcff.pt", "--weights", literal=True)
    assert ("--weights", "R110") in [(fault.path, fault.code) for fault in read_draft(path, (weights,)).faults]
