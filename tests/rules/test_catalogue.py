"""The catalogue holds just the codes that are raised, and its examples are what it says of them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pytest

from compressor.cli.main import cli
from compressor.data.description import parse_description
from compressor.errors import DatasetError, InputError, RecipeError
from compressor.recipe.load import load_recipe
from compressor.rules.catalogue import Rule, find_rule, rules
from trials.commands import compressor

ROOT = Path(__file__).parents[2]
CODE = re.compile(r'"([A-Z][0-9]{3})"')
FAMILIES = {
    "A5": "artifact",
    "D4": "data",
    "E8": "run",
    "N7": "download",
    "O6": "output",
    "P2": "plan",
    "R1": "recipe",
    "U9": "usage",
    "W3": "weights",
}
COMMANDS = [
    (rule.code, command)
    for rule in rules()
    if rule.kind == "command"
    for command in (rule.wrong, rule.right)
    if command
]


def raised_codes() -> set[str]:
    sources = (ROOT / "compressor").rglob("*.py")
    return {code for source in sources for code in CODE.findall(source.read_text(encoding="utf-8"))}


def of_kind(kind: str, families: str = "ADENOPRUW") -> list[Rule]:
    return [rule for rule in rules() if rule.kind == kind and rule.code[0] in families]


def by_code(rule: Rule) -> str:
    return rule.code


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the shipped recipes, which some examples name or extend."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return tmp_path


def load(text: str | None, place: Path) -> None:
    assert text is not None
    shown = place / "recipes" / "shown.yaml"
    shown.write_text(text, encoding="utf-8")
    load_recipe(shown)


def test_every_code_that_is_raised_is_explained() -> None:
    assert sorted(raised_codes() - {rule.code for rule in rules()}) == []


def test_every_code_that_is_explained_is_raised() -> None:
    assert sorted({rule.code for rule in rules()} - raised_codes()) == []


def test_every_code_is_explained_once_and_in_order() -> None:
    codes = [rule.code for rule in rules()]
    assert [code for code, count in Counter(codes).items() if count > 1] == []
    assert codes == sorted(codes)


def test_every_code_stands_in_the_file_of_its_family() -> None:
    for family, name in FAMILIES.items():
        text = (ROOT / "compressor" / "rules" / f"{name}.yaml").read_text(encoding="utf-8")
        expected = [rule.code for rule in rules() if rule.code.startswith(family)]
        assert expected
        assert re.findall(r"^- code: (\w+)$", text, re.MULTILINE) == expected


@pytest.mark.parametrize("rule", rules(), ids=by_code)
def test_title_is_short_and_text_is_whole_sentences(rule: Rule) -> None:
    assert rule.title[:1].isupper()
    assert not rule.title.endswith(".")
    assert len(rule.title) <= 60
    for paragraph in rule.text.split("\n\n"):
        assert re.search(r"[.:]`?$|`\.$", paragraph), paragraph
        assert "\n" not in paragraph
        assert "  " not in paragraph


@pytest.mark.parametrize("rule", rules(), ids=by_code)
def test_examples_come_in_pairs_that_differ(rule: Rule) -> None:
    assert rule.kind in ("recipe", "command", "dataset", "text")
    assert (rule.wrong is None) == (rule.right is None)
    assert rule.wrong is None or rule.wrong != rule.right
    assert rule.wrong is not None or rule.kind == "text"


@pytest.mark.parametrize("rule", [rule for rule in rules() if rule.code[0] in "RP"], ids=by_code)
def test_faults_of_recipes_are_shown(rule: Rule) -> None:
    assert rule.wrong
    assert rule.right


@pytest.mark.parametrize("rule", of_kind("recipe", "R"), ids=by_code)
def test_wrong_recipe_is_refused_with_this_code_alone(rule: Rule, place: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(rule.wrong, place)
    assert {fault.code for fault in caught.value.diagnostics} == {rule.code}


@pytest.mark.parametrize("rule", of_kind("recipe"), ids=by_code)
def test_right_recipe_is_accepted(rule: Rule, place: Path) -> None:
    load(rule.right, place)


@pytest.mark.parametrize("rule", of_kind("recipe", "PA"), ids=by_code)
def test_recipe_that_only_fails_on_a_model_can_be_read(rule: Rule, place: Path) -> None:
    load(rule.wrong, place)


@pytest.mark.parametrize("rule", of_kind("dataset"), ids=by_code)
def test_right_dataset_is_accepted(rule: Rule) -> None:
    assert rule.right is not None
    assert parse_description(rule.right.encode(), "mine.yaml").names == ("boar", "deer")


def test_wrong_dataset_is_refused() -> None:
    wrong = find_rule("D401").wrong
    assert wrong is not None
    with pytest.raises(DatasetError, match="D401"):
        parse_description(wrong.encode(), "mine.yaml")


@pytest.mark.parametrize(("code", "command"), COMMANDS)
def test_command_takes_its_options(code: str, command: str) -> None:
    words = shlex.split(command)
    while "=" in words[0]:  # an environment variable
        words = words[1:]
    assert words[0] == "compressor"
    whole = click.Context(cli, **cli.context_settings)  # or the command would keep a --help without -h for later tests
    assert cli.commands[words[1]].make_context(words[1], words[2:], parent=whole)


@pytest.mark.parametrize("code", ["R108", "R110", "R111", "W301", "U901", "U903", "U904", "U905", "O603"])
def test_wrong_command_is_refused_with_this_code(code: str, place: Path) -> None:
    done = run_example(find_rule(code).wrong, place)
    assert done.returncode == 2
    assert re.findall(r"\b([A-Z]\d{3}) ", done.stderr)[:1] == [code], done.stderr


@pytest.mark.parametrize("code", ["R108", "R110", "U904"])
def test_right_command_runs(code: str, place: Path) -> None:
    done = run_example(find_rule(code).right, place)
    assert done.returncode == 0, done.stderr


def run_example(command: str | None, place: Path) -> subprocess.CompletedProcess[str]:
    assert command is not None
    return compressor(*shlex.split(command)[1:], cwd=place)


def test_no_data_is_told_of_a_recipe_that_names_none(place: Path) -> None:
    rule = find_rule("R112")
    assert rule.wrong is not None
    text = (place / "recipes" / "demo.yaml").read_text(encoding="utf-8")
    (place / "my_recipe.yaml").write_text(text.replace("data: shapes.yaml\n", ""), encoding="utf-8")
    done = run_example(rule.wrong, place)
    assert done.returncode == 2
    assert "R112 no data set is named" in done.stderr


def test_budget_of_ap_is_not_settled_without_judging(place: Path) -> None:
    rule = find_rule("R120")
    text = (place / "recipes" / "demo.yaml").read_text(encoding="utf-8")
    asking = re.sub(r"sparsity: [0-9.]+", "sparsity: {ap_drop: 0.005}", text)
    assert asking != text
    (place / "my_recipe.yaml").write_text(asking, encoding="utf-8")
    refused = run_example(rule.wrong, place)
    assert refused.returncode == 2
    assert "R120 a budget of AP is settled by judging" in refused.stderr
    done = run_example(rule.right, place)
    assert done.returncode == 0, done.stderr


def test_table_that_is_not_there_is_told(place: Path) -> None:
    text = (place / "recipes" / "demo.yaml").read_text(encoding="utf-8")
    measured = re.sub(r"allocation: \w+", "allocation: sensitivity\n    table: t.json", text)
    (place / "my_recipe.yaml").write_text(measured, encoding="utf-8")
    refused = run_example(find_rule("U907").wrong, place)
    assert refused.returncode == 2
    assert "best.sensitivty.json: U907 no sensitivity table here" in refused.stderr


def test_rule_is_found_in_upper_and_lower_case() -> None:
    assert find_rule("r103") is find_rule("R103")
    assert find_rule("R103").title == "Value out of range"


@pytest.mark.parametrize(
    ("code", "help_text"),
    [("R999", "`compressor explain` without a code lists them all"), ("w3111", "did you mean 'W311'?"), ("", None)],
)
def test_unknown_code_is_an_error(code: str, help_text: str | None) -> None:
    with pytest.raises(InputError) as caught:
        find_rule(code)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.message) == ("U904", f"there is no rule {code!r}")
    assert fault.help == help_text if help_text else fault.help


def test_catalogue_needs_nothing_heavy() -> None:
    code = "import sys, compressor.rules.catalogue as c; c.rules(); print('torch' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
