"""A Ctrl-C that some callback or extension module swallowed still ends the command, at the next step of its work."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from compressor.cli.console import Console
from compressor.cli.interrupts import told_as, unwind
from compressor.errors import Diagnostic, InputError


def _swallowed() -> None:
    """A Ctrl-C whose exception arrives nowhere, as in a weak reference's callback."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return
    pytest.fail("no KeyboardInterrupt")


def _step(console: Console) -> None:
    with console.step("work"):
        pass


def _bar(console: Console) -> None:
    with console.bar("work", "images") as update:
        update(1, 2)


def _section(console: Console) -> None:
    console.section("run 2 of 3")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("work", [_step, _bar, _section])
def test_a_swallowed_interrupt_ends_the_next_step(work: Callable[[Console], None]) -> None:
    unwind()
    console = Console()
    work(console)
    _swallowed()
    with pytest.raises(KeyboardInterrupt):
        work(console)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("error", [None, InputError(Diagnostic("W302", "the file cannot be read"))])
def test_what_it_became_is_told_as_an_interruption(
    error: InputError | None, capsys: pytest.CaptureFixture[str]
) -> None:
    unwind()
    with pytest.raises(SystemExit) as end, told_as(lambda: "the same command goes on"):
        _swallowed()
        if error:
            raise error
    assert end.value.code == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("work", [_step, _section])
def test_what_was_done_before_it_is_still_printed(work: Callable[[Console], None]) -> None:
    unwind()
    console = Console()
    console.written = Path("runs/done")
    _swallowed()
    work(console)
