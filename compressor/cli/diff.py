"""`compressor diff`: what differs between runs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.gates import check_gates, end_where_failed, print_verdicts
from compressor.report.diff import KNOWN_OF_ARTIFACTS, Comparison, Part, compare, comparison_tables
from compressor.report.diff_sides import Side, load_side
from compressor.report.escape import escaped
from compressor.results.gates import Verdict, verdicts

DIFF_SCHEMA = "compressor/diff/2"


@click.command(short_help="Compare runs: recipe, metrics, layers, sizes, speed.")
@console_options
@click.argument("a", type=click.Path(path_type=Path), shell_complete=complete_file)
@click.argument("b", type=click.Path(path_type=Path), nargs=-1, required=True, shell_complete=complete_file)
@click.option("--only", multiple=True, type=click.Choice(get_args(Part)), help="Only this part; may be repeated.")
@click.option("--fail-if", "gates", multiple=True, metavar="GATE", help="Exit 1 where it holds, as in 'AP < -0.5'.")
@click.option("--md", "form", flag_value="md", help="Markdown tables.")
@click.option("--html", "form", flag_value="html", help="One page of HTML.")
@click.option("--json", "form", flag_value="json", help="One JSON document in full precision.")
def diff(
    *, a: Path, b: tuple[Path, ...], only: tuple[Part, ...], gates: tuple[str, ...], form: str | None, console: Console
) -> None:
    """Compare runs with the first of them: recipe, metrics, classes, sizes, layers, speed and machine. Prints nothing
    when they are equal; speed and machine, which differ in every run, do not count. What was not measured alike comes
    first; such figures have no interval, and a gate that compares them fails.

    A and B are run folders, run.json files or artifacts. A gate is a metric's change in points from A to B, as in
    'AP < -0.5'; `kept.AP < 95` in per cent of A; `after.AP < 45` of B alone; `worst_class < -10`; or `size > 60` of
    B's artifact in per cent of A's.

    \b
    Example:
      compressor diff reports/yolov5n_uniform30 reports/yolov5n_global30 --fail-if "AP < -0.5"
    """  # noqa: D205  # click shows the first sentence whole
    check_gates(gates, "--fail-if")
    sides = _named([load_side(place) for place in (a, *b)], [a, *b])
    if only and not all(side.whole for side in sides) and (unknown := sorted(set(only) - set(KNOWN_OF_ARTIFACTS))):
        raise click.UsageError(f"--only {unknown[0]}: an artifact alone does not tell it; name its run folder")
    comparison = compare(sides, only)
    decided = [verdicts(gates, sides[0].after, side.after, _size(sides[0], side)) for side in sides[1:]]
    _print(comparison, [(side.name, each) for side, each in zip(sides[1:], decided, strict=True)], form, console)
    place = ", ".join(side.name for side in sides[1:])
    end_where_failed([verdict for each in decided for verdict in each], place, "change --fail-if")


def _named(sides: list[Side], places: list[Path]) -> list[Side]:
    """The sides with names that tell them apart: their own, else their places."""
    counts = Counter(side.name for side in sides)
    return [
        side if counts[side.name] == 1 else replace(side, name=place.as_posix())
        for side, place in zip(sides, places, strict=True)
    ]


def _size(a: Side, b: Side) -> float | None:
    ours, theirs = (side.sizes.get("artifact") for side in (a, b))
    return theirs / ours if ours and theirs else None


def _print(
    comparison: Comparison, decided: list[tuple[str, tuple[Verdict, ...]]], form: str | None, console: Console
) -> None:
    if form == "json":
        head = {"schema": DIFF_SCHEMA, "equal": comparison.equal}
        gates = [{"name": name, **asdict(verdict)} for name, each in decided for verdict in each]
        not_alike = [{"name": each.name, "values": each.values} for each in comparison.not_alike]
        parts = {part: [asdict(each) for each in found] for part, found in comparison.parts.items()}
        console.document(
            json.dumps(
                {
                    **head,
                    "names": comparison.names,
                    "not_alike": not_alike,
                    "without_interval": comparison.without_interval,
                    **parts,
                    "gates": gates,
                },
                indent=2,
                allow_nan=False,
            )
        )
        return
    if not comparison.equal:
        tables = comparison_tables(comparison)
        note = [comparison.without_interval] if comparison.without_interval else []
        markdown = "\n\n".join([*(f"## {title}\n\n{table.markdown()}" for title, table in tables), *note])
        if form == "html":
            from compressor.report.html import page  # 60 ms that nothing else needs

            title = f"{comparison.names[0]} and {', '.join(comparison.names[1:])}"
            console.result(page(f"# {escaped(title)}\n\n{markdown}\n", title, None))
        elif form == "md":
            console.result(markdown)
        else:
            for number, (title, table) in enumerate(tables):
                console.heading(("\n" if number else "") + title)
                console.result(table.text())
            for sentence in note:
                console.result(f"\n{sentence}")
    for name, each in decided:
        print_verdicts(each, name if len(decided) > 1 else "", console)
