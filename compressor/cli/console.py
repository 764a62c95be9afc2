"""The terminal. Results go to stdout; progress, notes and errors to stderr."""

from __future__ import annotations

import errno
import functools
import os
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from compressor.cli.interrupts import stop_if_interrupted, was_interrupted
from compressor.cli.streams import discard
from compressor.errors import (
    CompressorError,
    Diagnostic,
    InputError,
    OutputError,
    RunError,
    UnforeseenError,
    first_line,
    ran_out_of_memory,
)
from compressor.printable import printable, printable_json, printable_lines
from compressor.progress import Update

BROKEN_PIPE = 141  # exit code, as a shell reports a process that SIGPIPE ended
TRACEBACK = "--traceback"
_HOUSE = Path(__file__).parents[1]
_LONGEST = 150  # characters of a foreign exception's text
_LONGEST_FAULT = 2000  # and of a fault


class Console:
    """Prints for one command, as its options and the terminal ask.

    Args:
        quiet: print results and errors only.
        verbose: print notes as well.
        color: `auto`, `always` or `never`; NO_COLOR and FORCE_COLOR decide for `auto`, then whether it is a terminal.
        traceback: print where in the source an error was raised, too.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, color: str = "auto", traceback: bool = False
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.color = color
        self.traceback = traceback
        self.warned: set[str] = set()  # sentences, so that none is told twice
        self.written: Path | None = None  # where a command's work stands once it is done, before it is printed
        self.live = sys.stderr.isatty() and not quiet

    def result(self, text: str) -> None:
        """Print to stdout; end the command where nobody reads it any more, as `head` does."""
        self._result(printable_lines(text))

    def document(self, text: str) -> None:
        """Print a JSON document to stdout; it stays the same document, whatever letters are in it."""
        self._result(printable_json(text))

    def heading(self, text: str) -> None:
        """Print a title to stdout, bold in colour."""
        self._result(click.style(printable_lines(text), bold=True))

    def _result(self, text: str) -> None:
        try:
            click.echo(text, color=self._colored(sys.stdout))
        except BrokenPipeError:
            discard(sys.stdout.fileno())  # or Python complains again at exit
            sys.exit(BROKEN_PIPE)
        except OSError as fault:
            discard(sys.stdout.fileno())
            message = f"cannot write here: {fault.strerror or fault}"
            help_text = "make room, or send it elsewhere"
            if self.written is not None:
                help_text = f"nothing is lost, the work is done and stands in {self.written}; {help_text}"
            raise OutputError(Diagnostic("O602", message, "standard output", help=help_text)) from fault

    def _heed(self) -> None:
        """End work that was interrupted without an exception that arrived; what is done already may be printed."""
        if self.written is None:
            stop_if_interrupted()

    def note(self, text: str) -> None:
        """Print a line to stderr, with --verbose only."""
        if self.verbose and not self.quiet:
            self._log(printable_lines(f"  {text}"))

    def section(self, title: str) -> None:
        """Print a line to stderr that names what follows."""
        self._heed()
        if not self.quiet:
            self._log(click.style(printable_lines(title), bold=True))

    def aside(self, text: str) -> None:
        """Print to stderr what is no result."""
        if not self.quiet:
            self._log(printable_lines(text))

    def warn(self, text: str) -> None:
        """Print a line to stderr, whatever was asked for."""
        self.warned.add(text)
        click.echo(click.style(printable_lines(text), fg="red"), err=True, color=self._colored(sys.stderr))

    def error(self, error: CompressorError) -> None:
        """Print every fault to stderr, the code in red; before them where it was raised, if that was asked for."""
        self.raised(error)
        for diagnostic in error.diagnostics:
            text = _shortened(str(diagnostic)).replace(
                diagnostic.code, click.style(diagnostic.code, fg="red", bold=True), 1
            )
            click.echo(text, err=True, color=self._colored(sys.stderr))

    def raised(self, fault: Exception) -> None:
        """Print where an exception was raised to stderr, with --traceback only."""
        if self.traceback and fault.__traceback__ is not None:
            click.echo(printable_lines("".join(traceback.format_exception(fault)).rstrip()), err=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A line when the step is done, with its time; on a terminal also while it runs."""
        self._heed()
        start, title = time.perf_counter(), printable(title)
        if self.live:
            click.echo(f"{title} ...", err=True, nl=False)
        try:
            yield
        except BaseException:
            self._clear()
            raise
        self._clear()
        self._done(title, "", time.perf_counter() - start)

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Update]:
        """A bar with rate and time left on a terminal, gone when done; then a line with count and time."""
        from tqdm import tqdm  # 30 ms that --help does not need

        start, title = time.perf_counter(), printable(title)
        done = 0
        hidden = not self.live
        with tqdm(desc=title, unit=unit, unit_scale=unit == "B", leave=False, disable=hidden, delay=0.2) as bar:

            def update(now: int, total: int | None) -> None:
                nonlocal done
                self._heed()
                bar.total = total
                bar.update(now - done)
                done = now

            yield update
        if done:
            self._done(title, f"{done:,} {unit}", time.perf_counter() - start)

    def _done(self, title: str, count: str, seconds: float) -> None:
        if not self.quiet:
            self._log(f"{title:<28}{count:>16}{seconds:>9.1f} s")

    def _log(self, text: str) -> None:
        click.echo(text, err=True, color=self._colored(sys.stderr))

    def _clear(self) -> None:
        if self.live:
            click.echo("\r\x1b[K", err=True, nl=False)

    def _colored(self, stream: TextIO) -> bool:
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def terminal_options(command: Callable[..., None]) -> Callable[..., None]:
    """What is printed and how, as options; they stand before a command's name or behind it."""
    for option in (
        click.option(TRACEBACK, is_flag=True, help="Of an error, print where in the source it was raised, too."),
        click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour."),
        click.option("-v", "--verbose", is_flag=True, help="Tell more on the way."),
        click.option("-q", "--quiet", is_flag=True, help="Print results and errors only."),
    ):
        command = option(command)
    return command


def console_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command; the command receives a `console`, and its errors end it with their exit code."""

    @terminal_options
    @functools.wraps(command)
    def run(*, quiet: bool, verbose: bool, color: str, traceback: bool, **options: Any) -> None:
        first = click.get_current_context().find_root().params  # what was given before the command's name
        console = Console(
            quiet=quiet or first.get("quiet", False),
            verbose=verbose or first.get("verbose", False),
            color=color if color != "auto" else first.get("color", "auto"),
            traceback=traceback or first.get("traceback", False),
        )
        try:
            _check_working_folder()
            command(console=console, **options)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as fault:
            if was_interrupted() and console.written is None:  # an error of a file may be a swallowed Ctrl-C as well
                raise KeyboardInterrupt from fault
            end_with(fault, console)

    return run


def _check_working_folder() -> None:
    """Refuse to start in a folder that is gone: relative paths mean nothing there, and libraries end the process."""
    try:
        Path.cwd()
    except OSError as fault:
        help_text = "change to a folder that is there, such as with `cd`"
        message = f"the working folder cannot be used: {fault.strerror or fault}"
        raise InputError(Diagnostic("U950", message, help=help_text)) from fault


def end_with(fault: Exception, console: Console) -> NoReturn:
    """Print an error and end the process with its exit code; what nobody foresaw is told in a sentence as well."""
    if isinstance(fault, CompressorError):
        error: CompressorError = fault
    elif isinstance(fault, OSError) and fault.errno == errno.ENAMETOOLONG:
        console.raised(fault)
        error = _too_long(fault)
    elif ran_out_of_memory(fault):
        console.raised(fault)
        error = _no_memory(fault)
    else:
        console.raised(fault)
        error = _unforeseen(fault)
    console.error(error)
    sys.exit(error.exit_code)


def _no_memory(fault: Exception) -> RunError:
    """Memory may run out anywhere; where it is known what took it, that place says so itself."""
    told = textwrap.shorten(first_line(fault), _LONGEST, placeholder=" ...")
    help_text = "lower the image or batch size, name a smaller model, or free memory"
    return RunError(Diagnostic("E812", f"there is too little memory: {told}", help=help_text))


def _too_long(fault: OSError) -> InputError:
    """A name that no file can have here, wherever on the way it was found."""
    name = str(fault.filename or "")
    shown = f"{name[:40]} ... {name[-40:]}" if len(name) > _LONGEST else name
    return InputError(
        Diagnostic("U951", "the file system takes no name as long as this", shown, help="use a shorter one")
    )


def _unforeseen(fault: Exception) -> UnforeseenError:
    """The last resort: what happened, and the innermost place in compressor's own source."""
    frames = [each for each in traceback.extract_tb(fault.__traceback__) if Path(each.filename).is_relative_to(_HOUSE)]
    path = Path(frames[-1].filename).relative_to(_HOUSE.parent).as_posix() if frames else None
    told = textwrap.shorten(str(fault), _LONGEST, placeholder=" ...")
    message = f"this is a fault of compressor: {type(fault).__name__}{': ' if told else ''}{told}"
    help_text = f"report it, with the command, the recipe and what {TRACEBACK} prints"
    return UnforeseenError(Diagnostic("E899", message, path, frames[-1].lineno if frames else None, help=help_text))


def _shortened(text: str) -> str:
    """What a file said of itself cannot flood a terminal."""
    if len(text) <= _LONGEST_FAULT:
        return text
    return f"{text[: _LONGEST_FAULT // 2]} ... {text[-_LONGEST_FAULT // 2 :]}"
