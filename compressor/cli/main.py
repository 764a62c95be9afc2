"""The `compressor` command: its sub-commands, and how it ends."""

from __future__ import annotations

import sys
from collections import Counter

import click

from compressor.cli.apply import apply
from compressor.cli.benchmark import benchmark
from compressor.cli.check import check
from compressor.cli.compare import compare
from compressor.cli.completion import completion
from compressor.cli.console import TRACEBACK, Console, end_with, terminal_options
from compressor.cli.diff import diff
from compressor.cli.evaluate import evaluate
from compressor.cli.explain import explain
from compressor.cli.export import export
from compressor.cli.init import init
from compressor.cli.inspect import inspect
from compressor.cli.interrupts import MESSAGE, exit_code
from compressor.cli.plan import plan
from compressor.cli.recipes import recipes
from compressor.cli.report import report
from compressor.cli.schema import schema
from compressor.cli.sensitivity import sensitivity
from compressor.cli.sweep import sweep
from compressor.cli.verify import verify
from compressor.errors import Diagnostic, InputError, did_you_mean
from compressor.version import __version__


class _Commands(click.Group):
    """A group that names the nearest command when one is misspelt, and takes no option twice that has one value."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = did_you_mean(args[0], self.commands)
            raise click.UsageError(f"there is no command {args[0]!r}{'; ' + near if near else ''}", ctx) from error
        if command is not None:
            _refuse_twice(command, click.Context(command, parent=ctx, info_name=name), rest)
        return name, command, rest


def _refuse_twice(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Refuse an option that is given twice and keeps one value: click would silently take the last.

    Raises:
        UsageError: by the name of the option.
    """
    try:
        _, _, given = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:  # which parsing tells again, in its turn
        return
    for param, times in Counter(given).items():
        single = isinstance(param, click.Option) and not param.multiple
        switch = isinstance(param, click.Option) and param.is_flag and not param.secondary_opts
        if single and not switch and times > 1:
            raise click.UsageError(f"{param.opts[0]} is given {'twice' if times == 2 else f'{times} times'}", ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="compressor")
@terminal_options
def cli(**_options: object) -> None:  # commands read them from the context
    """Compress YOLOv5 detectors from a YAML recipe, and prove with COCO metrics what it cost.

    \b
    Example:
      compressor apply recipes/demo.yaml
    """


_WORK = (init, check, plan, apply, sweep, evaluate, benchmark, sensitivity, export)
_QUESTIONS = (inspect, verify, report, diff, compare, recipes, explain, schema, completion)
for _command in (*_WORK, *_QUESTIONS):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 ran and a gate or a check said no, 2 the input is at fault, 3 the run failed, 70 compressor
    itself is at fault, 130 Ctrl-C, 141 broken pipe, 143 SIGTERM.
    """
    console = Console(traceback=TRACEBACK in sys.argv[1:])
    try:
        cli.main(prog_name="compressor", standalone_mode=False)
    except click.UsageError as error:
        _show_usage(error)
        end_with(_of_the_command_line(error), console)
    except (click.Abort, KeyboardInterrupt):
        click.echo(MESSAGE, err=True)
        sys.exit(exit_code())
    except Exception as fault:  # what was raised outside of a command
        end_with(fault, console)


def _show_usage(error: click.UsageError) -> None:
    """How the command is called, or of none its whole help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.message, err=True)
    elif error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)


def _of_the_command_line(error: click.UsageError) -> InputError:
    """A fault that click found, told as all others are."""
    place = error.ctx.command_path if error.ctx else "compressor"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        message = "no command is named"
    else:
        message = " ".join(error.format_message().split()).rstrip(".")
        message = message[:1].lower() + message[1:]
    help_text = f"`{place} --help` tells its arguments and options"
    return InputError(Diagnostic("U920", message, place, help=help_text))
