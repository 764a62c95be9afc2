"""What every command has in common: help, JSON documents, streams, exit codes and misspellings."""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from compressor.cli.main import cli
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

COMMANDS = sorted(cli.commands)
DOCUMENTS = {
    "compressor/plan/1": ("plan", "half.yaml", "--json"),
    "compressor/evaluation/1": ("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--image-size", "64", "--json"),
    "compressor/tasks/benchmark/1": ("benchmark", "tiny.safetensors", "--image-size", "64", "--runs", "2", "--json"),
    "compressor/tasks/inspect/1": ("inspect", "run/model.safetensors", "--json"),
    "compressor/tasks/verify/1": ("verify", "run", "--json"),
    "compressor/diff/2": ("diff", "run", "tiny.safetensors", "--json"),
    "compressor/comparison/1": ("compare", "run", "--json"),
    "compressor/recipes/1": ("recipes", "--json"),
    "compressor/check/1": ("check", "half.yaml", "--format", "json"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    tiny_recipe(folder, "half")
    done = compressor("apply", "half.yaml", "--output", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_an_example(name: str) -> None:
    command = cli.commands[name]
    parent = click.Context(cli, info_name="compressor", **cli.context_settings)
    text = command.get_help(click.Context(command, parent=parent, info_name=name))
    assert "Example" in text
    assert text.index("Example") < text.index("Options:")
    assert re.search(rf"compressor {name}\b", text[text.index("Example") :])
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name


@pytest.mark.parametrize("schema", DOCUMENTS)
def test_json_is_one_document_with_its_schema_and_no_number_that_is_none(place: Path, schema: str) -> None:
    def refuse(word: str) -> Any:
        raise AssertionError(word)

    done = compressor(*DOCUMENTS[schema], cwd=place)
    assert done.returncode in (0, 1), done.stderr
    document = json.loads(done.stdout, parse_constant=refuse)
    assert document["schema"] == schema
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("compar", "run"), 2, "did you mean 'compare'?"),
        (("diff", "run"), 2, "compressor diff: U920 missing argument"),
        (("diff", "run", "nowhere"), 2, "nowhere: U901"),
        (("apply", "half.yaml", "--set", "modifiers.0.sparsty=0.3"), 2, "did you mean 'sparsity'?"),
        (("plan", "half.yaml", "--set", 'modifiers.0.targets=["model.0.con"]'), 2, "did you mean 'model.0.conv'?"),
        (("explain", "R999"), 2, "R999"),
        (("report", "run", "--template", "none.j2"), 2, "none.j2: U901"),
        (("verify", "run"), 0, ""),
    ],
)
def test_exit_codes_and_misspellings(place: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = compressor(*arguments, cwd=place)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "r.yaml", "--weights", "a.pt", "--weights", "b.pt"),
        ("plan", "r.yaml", "--weights=a.pt", "--set", "a=1", "--set", "b=2", "--weights=a.pt"),
        ("sensitivity", "a.pt", "--data", "d.yaml", "--repaired", "--no-repaired"),
        ("check", "r.yaml", "--format", "json", "--format", "text"),
    ],
)
def test_an_option_of_one_value_is_not_given_twice(words: tuple[str, ...], tmp_path: Path) -> None:
    done = compressor(*words, cwd=tmp_path)
    assert (done.returncode, "is given twice" in done.stderr) == (2, True), done.stderr
    assert f"compressor {words[0]}: U920 --" in done.stderr


def test_what_may_be_given_twice_is(tmp_path: Path) -> None:
    done = compressor("check", "nowhere.yaml", "-q", "-q", "--set", "a=1", "--set", "a=2", cwd=tmp_path)
    assert "is given twice" not in done.stderr
    assert "U920" not in compressor("check", "--", "--weights", "--weights", cwd=tmp_path).stderr
