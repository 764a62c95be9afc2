"""`compressor report`: the report of an earlier run, made again."""

from __future__ import annotations

from pathlib import Path

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.files.writing import check_place, staged
from compressor.files.written import put
from compressor.report.html import GENERATOR, page
from compressor.results.run import load_run

SECTION = "\n## How it was made\n"  # which every report by the shipped template has


@click.command(short_help="Render the report of a run again, from another template or as HTML.")
@console_options
@click.argument("run", type=click.Path(path_type=Path), shell_complete=complete_file)
@click.option("--template", type=click.Path(path_type=Path), shell_complete=complete_file, help="A Jinja2 template.")
@click.option(
    "--format", "form", type=click.Choice(["md", "html"]), default="md", show_default=True, help="What to write."
)
@click.option("--output", type=click.Path(path_type=Path), help="File to write; standard output when not given.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def report(*, run: Path, template: Path | None, form: str, output: Path | None, force: bool, console: Console) -> None:
    """Render the report of a run folder or run.json again; nothing is computed anew. HTML is one file that holds the
    pictures of the run; Markdown names them.

    \b
    Example:
      compressor report reports/yolov5n_global30 --format html --output yolov5n.html
    """  # noqa: D205  # click shows the first sentence whole
    from compressor.report.render import read_template, render_report
    from compressor.run.report import rendered

    record = load_run(run)
    if output is not None:
        check_place(output, "page", "file", _is_page, force=force)
    folder = run if run.is_dir() else run.parent
    text = render_report(record, read_template(template), str(template)) if template else rendered(record, folder)
    if form == "html":
        text = page(text, record.name, folder)
    if output is None:
        console.result(text.removesuffix("\n"))
        return
    unwind()
    with staged(output) as aside:
        made = aside / output.name
        made.write_text(text, encoding="utf-8")
        put(made, output, console)
    console.result(f"{output}: {len(text.encode()) / 1e6:.3f} MB")


def _is_page(path: Path) -> bool:
    """Whether a file may be replaced: a page of this command, of Markdown one of the shipped template."""
    if path.suffix == ".html":
        return path.is_file() and GENERATOR in path.read_text(encoding="utf-8", errors="replace")[:1000]
    return path.suffix == ".md" and path.is_file() and SECTION in path.read_text(encoding="utf-8", errors="replace")
