"""The `compressor` command: its sub-commands, and how it ends."""

from __future__ import annotations

import sys

import click

from compressor import __version__
from compressor.cli.apply import apply
from compressor.cli.check import check
from compressor.cli.compare import compare
from compressor.cli.completion import completion
from compressor.cli.diff import diff
from compressor.cli.evaluate import evaluate
from compressor.cli.explain import explain
from compressor.cli.export import export
from compressor.cli.init import init
from compressor.cli.inspect import inspect
from compressor.cli.interrupts import MESSAGE, exit_code
from compressor.cli.plan import plan
from compressor.cli.report import report
from compressor.cli.schema import schema
from compressor.cli.sensitivity import sensitivity
from compressor.cli.sweep import sweep
from compressor.cli.verify import verify
from compressor.errors import did_you_mean


class _Suggesting(click.Group):
    """A group that names the nearest command when one is misspelt."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = did_you_mean(args[0], self.commands)
            raise click.UsageError(f"there is no command {args[0]!r}{'; ' + near if near else ''}", ctx) from error


@click.group(cls=_Suggesting, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="compressor")
def cli() -> None:
    """Compress YOLOv5 detectors from a YAML recipe, and prove with COCO metrics what it cost.

    \b
    Example:
      compressor apply recipes/demo.yaml
    """


_WORK = (init, check, plan, apply, sweep, evaluate, sensitivity, export)
_QUESTIONS = (inspect, verify, report, diff, compare, explain, schema, completion)
for _command in (*_WORK, *_QUESTIONS):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit.

    0 done, 2 the input is at fault, 3 the run failed, 130 Ctrl-C, 141 broken pipe, 143 SIGTERM.
    """
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(MESSAGE, err=True)
        sys.exit(exit_code())
