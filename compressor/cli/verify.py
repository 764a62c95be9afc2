"""`compressor verify`: whether an artifact or a run is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.errors import AnswerError, Diagnostic
from compressor.printable import printable

if TYPE_CHECKING:
    from compressor.tasks.verify.claims import Verification

_MOST_SHOWN = 20


@click.command(short_help="Check an artifact or a run against what it says of itself.")
@console_options
@click.argument("place", type=click.Path(path_type=Path), shell_complete=complete_file)
@click.option("--evaluate", is_flag=True, help="Evaluate the models of a run again.")
@click.option("--data", metavar="YAML", shell_complete=complete_file, help="The data set, where it moved.")
@click.option("--device", help="With --evaluate: cpu, cuda, cuda:1, or auto, which is the default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(
    *, place: Path, evaluate: bool, data: str | None, device: str | None, as_json: bool, console: Console
) -> None:
    """Check an artifact: structure, digest of every tensor, and that saving it again gives the same bytes. Of a run
    folder also its files, and every claim of its run.json that can be worked out: layers, sparsity, sizes, changes and
    gates, the figures and their draws from the detections in it where the data are at hand, the pictures and the
    report. With --evaluate both models and the exports are evaluated again. What is taken on trust is named, as are the
    words of a run that another version wrote, and the files that a report kept without its model lacks. Exits 1 where
    something differs.

    \b
    Example:
      compressor verify reports/yolov5n_global30
    """  # noqa: D205  # click shows the first sentence whole
    if device is not None and not evaluate:
        raise click.UsageError("--device goes with --evaluate")
    from compressor.tasks.verify import verify as verified
    from compressor.tasks.verify.figures import Evaluating

    unwind()
    found = verified(place, data, Evaluating(data, device or "auto") if evaluate else None, console)
    if as_json:
        document = {"schema": "compressor/tasks/verify/1", "place": str(place), "good": found.good}
        entries = asdict(found)
        listed = {"checks": entries["checks"], "on_trust": entries["trusted"], "not_recorded": entries["not_recorded"]}
        listed |= {"absent": entries["absent"], "counts": found.counts}
        console.document(json.dumps({**document, **listed}, indent=2))
    else:
        _print(found, console)
    if not found.good:
        wrong = sum(bool(check.differences) for check in found.checks)
        message = f"checks that do not hold: {wrong} of {len(found.checks)}"
        help_text = "make it again from its recipe, or fetch it again; do not use what was changed after it was written"
        raise AnswerError(Diagnostic("U922", message, str(place), help=help_text))


def _print(found: Verification, console: Console) -> None:
    for check in found.checks:
        console.result(f"{'differs' if check.differences else 'holds':<8}{printable(check.claim)}")
        for difference in check.differences[:_MOST_SHOWN]:
            console.result(f"          {printable(difference)}")
        if len(check.differences) > _MOST_SHOWN:
            console.result(f"          and {len(check.differences) - _MOST_SHOWN} more")
    for each in found.trusted:
        console.result(f"{'trust':<8}{', '.join(each.keys)}: {printable(each.reason)}")
    if found.not_recorded:
        console.result(f"{'lacks':<8}{', '.join(found.not_recorded)}: the run does not record it")
    for name in found.absent:
        console.result(f"{'absent':<8}{printable(name)}: named in run.json, and not in this folder")
    counts = found.counts
    console.result(
        f"{counts['hold']} claims hold, {counts['differ']} differ; {counts['on_trust']} entries are taken on trust"
        + (f"; {counts['absent']} files are absent" if found.absent else "")
    )
