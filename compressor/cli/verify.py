"""`compressor verify`: whether an artifact or a run is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.errors import AnswerError, Diagnostic
from compressor.printable import printable

_MOST_SHOWN = 20


@click.command(short_help="Check an artifact or a run against what it says of itself.")
@console_options
@click.argument("place", type=click.Path(path_type=Path), shell_complete=complete_file)
@click.option("--evaluate", is_flag=True, help="Judge the model of a run again and compare the figures.")
@click.option("--data", metavar="YAML", shell_complete=complete_file, help="With --evaluate: the data, where it moved.")
@click.option("--device", help="With --evaluate: cpu, cuda, cuda:1, or auto, which is the default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(
    *, place: Path, evaluate: bool, data: str | None, device: str | None, as_json: bool, console: Console
) -> None:
    """Check an artifact: structure, digest of every tensor, and that saving it again gives the same bytes. Of a run
    folder also that its files, the recipe, the zeros of every layer and the report are those of its run.json, and with
    --evaluate the figures of the compressed model and of its exports. Exits 1 where something differs.

    \b
    Example:
      compressor verify reports/yolov5n_global30 --evaluate
    """  # noqa: D205  # click shows the first sentence whole
    for flag, value in (("--data", data), ("--device", device)):
        if value is not None and not evaluate:
            raise click.UsageError(f"{flag} goes with --evaluate")
    from compressor.verification import Evaluating
    from compressor.verification import verify as verified

    unwind()
    checks = verified(place, Evaluating(data, device or "auto") if evaluate else None, console)
    good = not any(check.differences for check in checks)
    if as_json:
        document = {"schema": "compressor/verification/1", "place": str(place), "good": good}
        console.document(json.dumps({**document, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            console.result(f"{'differs' if check.differences else 'holds':<8}{printable(check.claim)}")
            for difference in check.differences[:_MOST_SHOWN]:
                console.result(f"          {printable(difference)}")
            if len(check.differences) > _MOST_SHOWN:
                console.result(f"          and {len(check.differences) - _MOST_SHOWN} more")
    if not good:
        message = f"checks that do not hold: {sum(bool(check.differences) for check in checks)} of {len(checks)}"
        help_text = "make it again from its recipe, or fetch it again; do not use what was changed after it was written"
        raise AnswerError(Diagnostic("U922", message, str(place), help=help_text))
