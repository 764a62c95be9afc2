"""How a command ends: a code, a sentence, a place and a mend for every exit but 0, and a traceback where asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import compressor.cli.explain
import compressor.modifiers.prune.zeros
import compressor.run.stages
from compressor.artifact.load import LoadedModel, load_model
from compressor.artifact.save import METADATA_KEY
from compressor.cli.main import cli, main
from compressor.errors import AnswerError, CompressorError, InputError, RunError, UnforeseenError
from compressor.modifiers.prune.selection import Cut, Dropped, Scores, drop
from trials.tiny import tiny_data, tiny_model, tiny_recipe, tiny_weights

TOLD = re.compile(r"^(?:(?P<place>.+?): )?(?P<code>[A-Z]\d{3}) (?P<message>.+)\n  help: (?P<help>.+)$", re.MULTILINE)


class End(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., End]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, handlers: None) -> Run:
    """The real command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> End:
        monkeypatch.setattr(sys, "argv", ["compressor", *words])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
        return End(int(str(ended.value.code)), *capsys.readouterr())

    return command


@pytest.mark.parametrize(
    ("words", "place", "message"),
    [
        ((), "compressor", "no command is named"),
        (("inspct",), "compressor", "there is no command 'inspct'; did you mean 'inspect'?"),
        (("check",), "compressor check", "missing argument 'RECIPE...'"),
        (("inspect", "a", "b"), "compressor inspect", "got unexpected extra argument (b)"),
        (("explain", "--colr"), "compressor explain", "no such option '--colr'. Did you mean '--color'?"),
        (("explain", "--color"), "compressor", "option '--color' requires an argument"),
        (("plan", "x.yaml", "--color", "red"), "compressor plan", "invalid value for '--color': 'red' is not one of"),
        (("verify", "run", "--device", "x"), "compressor verify", "--device goes with --evaluate"),
        (("diff", "a", "b", "--fail-if", "AP"), "compressor diff", "--fail-if: 'AP' is not a gate; "),
        (("init", "x.pt", "--force"), "compressor init", "--force replaces a file: name it with --output"),
    ],
)
def test_a_command_line_that_is_not_understood(run: Run, words: tuple[str, ...], place: str, message: str) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    (found,) = TOLD.finditer(ended.err)
    assert (found["place"], found["code"]) == (place, "U920")
    assert found["message"].startswith(message)
    assert not found["message"].endswith(".")
    assert found["help"] == f"`{place} --help` tells its arguments and options"
    assert ended.err.startswith(f"Usage: {place} [OPTIONS]") or words == ("explain", "--color")


def test_every_command_takes_the_option_that_shows_a_traceback() -> None:
    for name, command in cli.commands.items():
        flags = [flag for each in command.params if isinstance(each, click.Option) for flag in each.opts]
        assert "--traceback" in flags, name


def test_a_known_error_shows_its_traceback_only_where_asked_for(run: Run) -> None:
    plain, curious = run("inspect", "nope.pt"), run("inspect", "nope.pt", "--traceback")
    assert plain.code == curious.code == 2
    assert "Traceback" not in plain.err
    assert curious.err.startswith("Traceback (most recent call last):\n")
    assert "fetch.py" in curious.err
    assert curious.err.endswith(plain.err)


def broken() -> None:
    raise ZeroDivisionError("division\nby " + "zero " * 100)


@pytest.mark.parametrize("outside", [False, True])
def test_an_unforeseen_error_is_a_fault_of_compressor(run: Run, monkeypatch: pytest.MonkeyPatch, outside: bool) -> None:
    if outside:
        monkeypatch.setattr(cli, "main", lambda **_: broken())
    else:
        monkeypatch.setattr(compressor.cli.explain, "rules", broken)
    plain, curious = run("explain"), run("explain", "--traceback")
    assert plain.code == curious.code == UnforeseenError.exit_code == 70
    (found,) = TOLD.finditer(plain.err)
    assert found["code"] == "E899"
    assert found["message"].startswith("this is a fault of compressor: ZeroDivisionError: division by zero zero")
    assert re.fullmatch(r"compressor/cli/(main|explain)\.py:\d+", found["place"])
    assert "--traceback" in found["help"]
    assert "Traceback" not in plain.err and len(plain.err) < 400
    assert curious.err.startswith("Traceback (most recent call last):\n")
    assert 'raise ZeroDivisionError("division\\nby " + "zero " * 100)' in curious.err
    assert curious.err.endswith(plain.err)


def test_a_fault_without_words_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor.cli.explain, "rules", lambda: iter(()).__next__())
    ended = run("explain")
    assert ended.code == 70
    assert "E899 this is a fault of compressor: StopIteration\n" in ended.err


def test_exit_codes_are_as_documented() -> None:
    kinds: list[type[CompressorError]] = [CompressorError, *descendants(CompressorError)]
    codes = {error.exit_code for error in kinds}
    assert codes == {1, 2, 3, 70}
    assert (AnswerError.exit_code, InputError.exit_code, RunError.exit_code) == (1, 2, 3)
    page = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    table = page.partition("\n## ")[0].partition("Exit codes:\n")[2]
    listed = [0, *sorted(codes), 130, 141, 143]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == listed
    assert [int(number) for number in re.findall(r"\d+", main.__doc__ or "")] == listed


def descendants(of: type[CompressorError]) -> list[type[CompressorError]]:
    return [below for child in of.__subclasses__() for below in (child, *descendants(child))]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Tiny weights, data and a recipe, where `run` runs."""
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    tiny_recipe(tmp_path)
    return tmp_path


def artifact_of_another_version(place: Path, _: pytest.MonkeyPatch) -> None:
    with safe_open(place / "tiny.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    save_file(tensors, place / "tiny.safetensors", {METADATA_KEY: json.dumps({**header, "format": "bitmask/99"})})


def state_dict_of_no_stock_size(place: Path, _: pytest.MonkeyPatch) -> None:
    layer_more = {"model.25.conv.weight": torch.zeros(1, 1, 1, 1)}
    save_file({**tiny_model().state_dict(), **layer_more}, place / "tiny.safetensors")


def cache_that_is_a_file(place: Path, patch: pytest.MonkeyPatch) -> None:
    (place / "cache").touch()
    patch.setenv("COMPRESSOR_CACHE", str(place / "cache"))


def one_small_image(place: Path, _: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(place, fuse="after")
    repair = "  - {type: repair, method: batchnorm, calibration: {images: 1, image_size: 32}}\nevaluation:"
    recipe.write_text(recipe.read_text().replace("evaluation:", repair))


def pruning_that_miscounts(_: Path, patch: pytest.MonkeyPatch) -> None:
    module = sys.modules["compressor.modifiers.prune.zeros"]  # the package has a function of this name

    def miscounted(weights: Scores, scores: Scores, at: Cut) -> Dropped:
        found = drop(weights, scores, at)
        return replace(found, zeros_after=found.zeros_after + 1)

    patch.setattr(module, "drop", miscounted)


def file_that_is_read_back_different(_: Path, patch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> LoadedModel:
        loaded = load_model(path)
        if path.name == "model.safetensors":
            next(loaded.model.parameters()).add_(1)
        return loaded

    patch.setattr("compressor.run.stages.load_model", load)


APPLY = ("apply", "tiny_half.yaml", "--no-evaluate", "--output", "run")
RARE: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], None], tuple[str, ...], int, str]] = {
    "A502": (file_that_is_read_back_different, APPLY, 3, "model.0.conv.weight came back different from the file"),
    "D410": (
        cache_that_is_a_file,
        ("evaluate", "tiny.safetensors", "--data", "shapes.yaml"),
        2,
        "the data set cannot be drawn here: Not a directory",
    ),
    "E801": (pruning_that_miscounts, APPLY, 3, "model.0.conv holds "),
    "E813": (one_small_image, APPLY, 3, "one image that gives a single value per channel has no variance to measure"),
    "W308": (artifact_of_another_version, ("inspect", "tiny.safetensors"), 2, "format 'bitmask/99'; this version"),
    "W309": (state_dict_of_no_stock_size, ("inspect", "tiny.safetensors"), 2, "the tensors fit no stock YOLOv5 size"),
}


@pytest.mark.parametrize("code", RARE)
def test_a_rare_error_is_told(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    provoke, words, exit_code, message = RARE[code]
    provoke(place, monkeypatch)
    ended = run(*words)
    assert ended.code == exit_code, ended.err
    (found,) = TOLD.finditer(ended.err)
    assert found["code"] == code
    assert found["message"].startswith(message)
    assert "Traceback" not in ended.err
    assert not (place / "run").exists()


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")])
def test_memory_that_runs_out_anywhere_is_told_as_such(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def explain(_code: str) -> None:
        raise fault

    monkeypatch.setattr(compressor.cli.explain, "find_rule", explain)
    ended = run("explain", "R103")
    assert ended.code == 3
    assert ended.err.startswith("E812 there is too little memory: ")
    assert "\n  help: lower the image or batch size" in ended.err
