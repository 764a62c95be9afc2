"""The terminal. Results go to stdout; progress, notes and errors to stderr."""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from compressor.cli.interrupts import was_interrupted
from compressor.errors import CompressorError, Diagnostic, OutputError, RunError
from compressor.progress import Update

BROKEN_PIPE = 141  # exit code, as a shell reports a process that SIGPIPE ended


class Console:
    """Prints for one command, as its options and the terminal ask.

    Args:
        quiet: print results and errors only.
        verbose: print notes as well.
        color: `auto`, `always` or `never`; NO_COLOR and FORCE_COLOR decide for `auto`, then whether it is a terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, color: str = "auto") -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.color = color
        self.live = sys.stderr.isatty() and not quiet

    def result(self, text: str) -> None:
        """Print to stdout; end the command where nobody reads it any more, as `head` does."""
        try:
            click.echo(text, color=self._colored(sys.stdout))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
            sys.exit(BROKEN_PIPE)
        except OSError as fault:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            message = f"cannot write here: {fault.strerror or fault}"
            raise OutputError(
                Diagnostic("O602", message, "standard output", help="make room, or send it elsewhere")
            ) from fault

    def heading(self, text: str) -> None:
        """Print a title to stdout, bold in colour."""
        self.result(click.style(text, bold=True))

    def note(self, text: str) -> None:
        """Print a line to stderr, with --verbose only."""
        if self.verbose and not self.quiet:
            self._log(f"  {text}")

    def section(self, title: str) -> None:
        """Print a line to stderr that names what follows."""
        if not self.quiet:
            self._log(click.style(title, bold=True))

    def warn(self, text: str) -> None:
        """Print a line to stderr, whatever was asked for."""
        click.echo(click.style(text, fg="red"), err=True, color=self._colored(sys.stderr))

    def error(self, error: CompressorError) -> None:
        """Print every fault to stderr, the code in red."""
        for diagnostic in error.diagnostics:
            text = _readable(str(diagnostic)).replace(
                diagnostic.code, click.style(diagnostic.code, fg="red", bold=True), 1
            )
            click.echo(text, err=True, color=self._colored(sys.stderr))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A line when the step is done, with its time; on a terminal also while it runs."""
        start = time.perf_counter()
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

        start = time.perf_counter()
        done = 0
        hidden = not self.live
        with tqdm(desc=title, unit=unit, unit_scale=unit == "B", leave=False, disable=hidden, delay=0.2) as bar:

            def update(now: int, total: int | None) -> None:
                nonlocal done
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


def console_options(command: Callable[..., None]) -> Callable[..., None]:
    """--quiet, --verbose and --color; the command receives a `console`, and its errors end it with their exit code."""

    @click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")
    @click.option("-v", "--verbose", is_flag=True, help="Tell more on the way, and of an unforeseen error everything.")
    @click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour.")
    @functools.wraps(command)
    def run(*, quiet: bool, verbose: bool, color: str, **options: Any) -> None:
        console = Console(quiet=quiet, verbose=verbose, color=color)
        try:
            command(console=console, **options)
        except CompressorError as error:
            console.error(error)
            sys.exit(error.exit_code)
        except (click.ClickException, click.Abort):
            raise
        except Exception as fault:  # the last resort: a sentence and an exit code for what nobody foresaw
            if was_interrupted():
                raise KeyboardInterrupt from fault
            if verbose:
                traceback.print_exc()
            message = f"{type(fault).__name__}: {fault}"
            help_text = "this is a fault of compressor; please report it, with what --verbose prints"
            console.error(RunError(Diagnostic("E899", message, help=help_text)))
            sys.exit(RunError.exit_code)

    return run


_LONGEST = 2000  # letters of a fault


def _readable(text: str) -> str:
    """What a file said of itself can neither flood a terminal nor command it."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)
