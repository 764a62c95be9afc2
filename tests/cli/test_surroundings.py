"""Closed streams, full devices, odd locales, long names and folders that are gone: a sentence, and no lost work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

posix = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
LONG = "a" * 245  # a name that a file can have, and nothing can be written beside under a longer one


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    tiny_recipe(tmp_path)
    return tmp_path


def shell(line: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which $COMPRESSOR is the command."""
    root = str(Path(__file__).parents[2])
    command = ["sh", "-c", line.replace("$COMPRESSOR", f"'{sys.executable}' -m compressor")]
    environment = {**os.environ, "PYTHONPATH": root, **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@posix
@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_is_a_whole_run(place: Path, streams: str) -> None:
    done = shell(f"$COMPRESSOR apply tiny_half.yaml --no-evaluate --output run {streams}", place)
    assert done.returncode == 0, done.stderr
    assert (done.stdout == "", done.stderr == "") == (">&-" in streams.replace("2>&-", ""), "2>&-" in streams)
    assert compressor("verify", "run", cwd=place).returncode == 0


@posix
def test_an_error_with_closed_streams_has_its_exit_code(place: Path) -> None:
    assert shell("$COMPRESSOR check nope.yaml 2>&-", place).returncode == 2
    assert shell("$COMPRESSOR check nope.yaml >&-", place).stderr.startswith("nope.yaml: R108")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_progress_that_cannot_be_written_costs_no_run(place: Path) -> None:
    done = shell("$COMPRESSOR apply tiny_half.yaml --no-evaluate --output run 2>/dev/full", place)
    assert done.returncode == 0
    assert "run/model.safetensors" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_results_that_cannot_be_written_leave_a_run_of_which_the_error_says_where(place: Path) -> None:
    done = shell("$COMPRESSOR apply tiny_half.yaml --no-evaluate --output run >/dev/full", place)
    assert done.returncode == 2
    assert "standard output: O602 cannot write here: No space left on device" in done.stderr
    assert "nothing is lost, the work is done and stands in run;" in done.stderr
    assert (place / "run" / "report.md").is_file()


@posix
def test_an_ascii_locale_prints_utf8_and_keeps_the_command_line(place: Path) -> None:
    (place / "tiny_half.yaml").rename(place / "hälfte.yaml")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell("$COMPRESSOR apply hälfte.yaml --no-evaluate --output läuft", place, **plain)
    assert done.returncode == 2
    assert "R108 the name of the recipe file is not text" in done.stderr
    assert "UTF-8" in done.stderr  # how it can be read all the same
    (place / "hälfte.yaml").rename(place / "half.yaml")
    done = shell("$COMPRESSOR apply half.yaml --no-evaluate --output läuft", place, **plain)
    assert done.returncode == 0, done.stderr
    assert "--output 'läuft'" in (place / "läuft" / "run.json").read_text("utf-8")


@posix
def test_a_working_folder_that_is_gone_is_an_error_in_words(place: Path) -> None:
    gone = "mkdir gone && cd gone && rmdir ../gone && "
    done = shell(f"{gone} $COMPRESSOR inspect ../tiny.safetensors", place)
    assert done.returncode == 2
    assert done.stderr.startswith("U950 the working folder cannot be used: No such file or directory")
    assert shell(f"{gone} $COMPRESSOR --help", place).returncode == 0


@pytest.mark.parametrize("quiet", [("-q",), ("--color", "never", "--quiet")])
def test_options_of_the_terminal_may_stand_before_the_command(place: Path, quiet: tuple[str, ...]) -> None:
    done = compressor(*quiet, "apply", "tiny_half.yaml", "--no-evaluate", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Traceback" in compressor("--traceback", "inspect", "nope.pt", cwd=place).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", f"{LONG}{LONG}.pt"),
        ("check", f"{LONG}{LONG}.yaml"),
        ("apply", "tiny_half.yaml", "--output", LONG),
        ("apply", "tiny_half.yaml", "--output", LONG + LONG),
        ("apply", "tiny_half.yaml", "--data", f"{LONG}{LONG}.yaml"),
        ("verify", LONG + LONG),
        ("diff", LONG + LONG, LONG),
        ("export", "tiny.safetensors", "--format", "yolov5", "--output", f"{LONG}.pt"),
        ("init", "tiny.safetensors", "--output", LONG),
    ],
)
def test_long_names_are_an_error_in_words_and_leave_nothing(place: Path, arguments: tuple[str, ...]) -> None:
    before = sorted(place.rglob("*"))
    done = compressor(*arguments, cwd=place)
    assert done.returncode == 2, done.stderr
    assert any(code in done.stderr for code in ("U951", "O602", "W301", "R108")), done.stderr
    assert "help: " in done.stderr
    assert sorted(place.rglob("*")) == before


def test_a_name_of_the_greatest_length_can_be_written(place: Path) -> None:
    longest = "a" * 237  # 255 bytes less what stands around it while it is written
    assert compressor("apply", "tiny_half.yaml", "--no-evaluate", "--output", longest, cwd=place).returncode == 0
    assert compressor("verify", longest, cwd=place).returncode == 0
