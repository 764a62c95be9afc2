"""What a person at a terminal sees, through a real pseudo-terminal."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

termios = pytest.importorskip("termios", reason="pseudo-terminals are POSIX's")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals and SIGINT are POSIX's")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    tiny_data(tmp_path, images=200)
    tiny_recipe(tmp_path)
    return tmp_path


def on_terminal(
    place: Path,
    *arguments: str,
    interrupt_at: bytes | None = None,
    results_too: bool = False,
    env: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Run with stderr on a pseudo-terminal; exit code and what it showed. SIGINT once `interrupt_at` is on screen."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    command = [sys.executable, "-m", "compressor", *arguments]
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        command,
        cwd=place,
        stdout=slave if results_too else subprocess.DEVNULL,
        stderr=slave,
        env={**clean, **(env or {})},
    )
    os.close(slave)
    shown, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                break
        if interrupt_at and interrupt_at in shown:
            process.send_signal(signal.SIGINT)
            interrupt_at = None
        if process.poll() is not None and not select.select([master], [], [], 0)[0]:
            break
    os.close(master)
    return process.wait(timeout=60), shown


def test_bar_shows_rate_and_time_left_and_is_gone_when_done(place: Path) -> None:
    command = ("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--image-size", "64")
    code, shown = on_terminal(place, *command)
    assert code == 0, shown
    text = shown.decode()
    assert "evaluate:" in text
    assert "images/s" in text or "s/images" in text
    last_line = text.rstrip().rpartition("\n")[2]
    assert "%|" not in last_line
    assert "200 images" in text


def test_interrupt_ends_with_130_and_leaves_nothing(place: Path) -> None:
    code, shown = on_terminal(place, "apply", "tiny_half.yaml", interrupt_at=b"evaluate before:")
    assert code == 130, shown
    assert b"interrupted" in shown
    assert b"Traceback" not in shown
    assert not list((place / "reports").glob("*"))
    assert not list((place / "reports").glob(".*"))


STARTING = """
from compressor.cli.interrupts import exit_at_once
exit_at_once()
print("started", flush=True)
from compressor.__main__ import main
main()
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1.0, 2.0])
def test_interrupt_while_modules_are_imported_ends_with_130_too(place: Path, delay_s: float) -> None:
    command = [sys.executable, "-c", STARTING, "apply", "tiny_half.yaml"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert b"Traceback" not in shown
    assert not list(place.glob("reports/*"))


def test_quiet_prints_results_only(place: Path) -> None:
    done = compressor("apply", "tiny_half.yaml", "--quiet", "--no-evaluate", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "model.safetensors" in done.stdout


def test_colour_is_asked_for_or_not_there(place: Path) -> None:
    plain = compressor("inspect", "nope.pt", cwd=place).stderr
    assert "\x1b[" not in plain
    forced = compressor("inspect", "nope.pt", cwd=place, env={"FORCE_COLOR": "1"}).stderr
    assert "\x1b[" in forced
    assert "\x1b[" not in compressor("inspect", "nope.pt", cwd=place, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stderr
    assert "\x1b[" in compressor("inspect", "nope.pt", "--color", "always", cwd=place).stderr


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two models that differ, and a recipe on a few pictures."""
    tiny_weights(tmp_path, seed=1).rename(tmp_path / "other.safetensors")
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    tiny_recipe(tmp_path)
    return tmp_path


def test_titles_are_bold_on_a_terminal_unless_told_otherwise(small: Path) -> None:
    command = ("diff", "tiny.safetensors", "other.safetensors")
    arguments: list[tuple[tuple[str, ...], dict[str, str], bool]] = [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        (("--color", "never"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
    ]
    for options, env, coloured in arguments:
        code, shown = on_terminal(small, *command, *options, results_too=True, env=env)
        assert code == 0
        assert (b"\x1b[1m" in shown) == coloured, (options, env)
        assert b"tensors sha256" in shown


def test_a_failed_gate_is_told_in_words_and_in_red(small: Path) -> None:
    command = ("diff", "tiny.safetensors", "other.safetensors", "--fail-if", "size > 1")
    for env, red in (({}, True), ({"NO_COLOR": "1"}, False)):
        code, shown = on_terminal(small, *command, env=env)
        assert code == 1
        assert b"gate failed: size > 1: the size is 100.00 %" in shown
        assert (b"\x1b[31mgate failed" in shown) == red


def test_a_sweep_tells_which_run_it_is_at(small: Path) -> None:
    over = ("--over", "modifiers.0.sparsity=0.2,0.4", "--set", "evaluation.baseline=false")
    code, shown = on_terminal(small, "sweep", "tiny_half.yaml", *over)
    assert code == 0
    assert b"run 1 of 2: sparsity=0.2" in shown
    assert b"run 2 of 2: sparsity=0.4" in shown
    code, shown = on_terminal(small, "sweep", "tiny_half.yaml", *over, "--quiet")
    assert (code, shown) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_disk_under_the_output_is_told() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "compressor", "explain", "O602"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("standard output: O602 cannot write here")


def test_reader_that_leaves_early_is_no_fault(place: Path) -> None:
    command = [sys.executable, "-m", "compressor", "inspect", "tiny.safetensors", "--layers"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # before anything is printed
        shown = process.stderr.read()
    assert process.returncode == 141
    assert b"Traceback" not in shown
    assert b"Error" not in shown


def test_interrupted_benchmark_ends_with_130_and_leaves_nothing(small: Path) -> None:
    (small / "tmp").mkdir()
    before = sorted(small.iterdir())
    arguments = ("tiny.safetensors", "--backend", "torchscript", "--image-size", "64", "--runs", "100000")
    env = {"TMPDIR": str(small / "tmp")}
    code, shown = on_terminal(small, "benchmark", *arguments, interrupt_at=b"batch 1, ", env=env)
    assert code == 130, shown
    assert b"interrupted; nothing was written" in shown
    assert b"Traceback" not in shown
    assert (sorted(small.iterdir()), list((small / "tmp").iterdir())) == (before, [])
