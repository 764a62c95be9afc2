"""How a command ends: a code, a sentence, a place and a mend for every exit but 0, and a traceback where asked for."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import compressor.cli.explain
from compressor.cli.main import cli, main
from compressor.errors import AnswerError, CompressorError, InputError, RunError, UnforeseenError

TOLD = re.compile(r"^(?:(?P<place>.+?): )?(?P<code>[A-Z]\d{3}) (?P<message>.+)\n  help: (?P<help>.+)$", re.MULTILINE)


class End(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., End]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """The real command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)

    def command(*words: str) -> End:
        monkeypatch.setattr(sys, "argv", ["compressor", *words])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
        return End(int(str(ended.value.code)), *capsys.readouterr())

    yield command
    signal.signal(signal.SIGINT, before)


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
        (("verify", "run", "--data", "x"), "compressor verify", "--data goes with --evaluate"),
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
    (line,) = [line for line in page.splitlines() if "Exit codes: " in line]
    told = line.partition("Exit codes: ")[2]
    assert [int(number) for number in re.findall(r"(?:^|; )(\d+) ", told)] == [0, *sorted(codes), 130, 141]


def descendants(of: type[CompressorError]) -> list[type[CompressorError]]:
    return [below for child in of.__subclasses__() for below in (child, *descendants(child))]
