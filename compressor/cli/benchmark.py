"""`compressor benchmark`: how long inference takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import told_as, unwind
from compressor.recipe.load import check_part
from compressor.recipe.schema import Evaluation, Precision
from compressor.report.benchmark import document, groups, sentences, table, warnings_of
from compressor.report.escape import escaped
from compressor.results.benchmark import BENCHMARK_SCHEMA, Benchmark

if TYPE_CHECKING:
    from compressor.tasks.benchmark import Backend

_BACKENDS = ("torch", "onnxruntime", "openvino", "torchscript")


def _counts(most: int) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[int, ...]]:
    """Of an option that may be repeated and takes `1,8`: whole numbers from 1 to `most`, each once."""

    def parsed(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[int, ...]:
        numbers: list[int] = []
        for word in (word.strip() for text in texts for word in text.split(",")):
            if not word.isdecimal() or not 1 <= int(word) <= most:
                raise click.BadParameter(f"{word!r} is not a whole number from 1 to {most}; write 1,8")
            if int(word) in numbers:
                raise click.BadParameter(f"{word} is named twice")
            numbers.append(int(word))
        return tuple(numbers)

    return parsed


@click.command(short_help="Measure latency and throughput of models, side by side.")
@console_options
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_file)
@click.option(
    "--image-size",
    type=int,
    default=Evaluation().image_size,
    show_default=True,
    help="Side in pixels of the square images, rounded up to the networks' stride.",
)
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    default=("1",),
    metavar="N,...",
    callback=_counts(4096),
    help="Images per pass: one number or several; 1 when not given.",
)
@click.option(
    "--threads",
    multiple=True,
    metavar="N,...",
    callback=_counts(1024),
    help="Threads of the CPU: one number or several; as many as PyTorch takes when not given.",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(_BACKENDS),
    help="What runs checkpoints and artifacts; may be repeated. torch when not given; others are exported to first.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto; graphs run on the CPU.")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="auto",
    show_default=True,
    help="Number type in which torch runs checkpoints and artifacts.",
)
@click.option(
    "--runs", type=click.IntRange(1, 100_000), default=30, show_default=True, help="Passes to time, of each network."
)
@click.option(
    "--warm-up", type=click.IntRange(0, 100_000), default=3, show_default=True, help="Passes before them, not timed."
)
@click.option("--md", "form", flag_value="md", help="Markdown tables.")
@click.option(
    "--json", "form", flag_value="json", help="One JSON document in full precision, with the time of every pass."
)
def benchmark(
    *,
    files: tuple[str, ...],
    image_size: int,
    batch_sizes: tuple[int, ...],
    threads: tuple[int, ...],
    backends: tuple[Backend, ...],
    device: str,
    precision: Precision,
    runs: int,
    warm_up: int,
    form: str | None,
    console: Console,
) -> None:
    """Measure how long inference takes: percentiles, images per second and CPU time. All files take turns, and each is
    compared with the first: where the difference is within noise, that is what is said.

    FILE is what `compressor evaluate` takes: a checkpoint, an artifact, a name such as yolov5n.pt, or a graph, which
    its own runtime runs. A .torchscript is a program: measure only those that you trust.

    \b
    Example:
      compressor benchmark yolov5n.pt reports/yolov5n_global30/model.safetensors --batch-size 1,8
    """  # noqa: D205  # click shows the first sentence whole
    check_part(Evaluation, {"image_size": image_size})
    if len(set(backends)) < len(backends):
        raise click.UsageError("--backend: one is named twice")
    from compressor.export.open import is_graph
    from compressor.tasks import benchmark as work

    if precision != "auto" and all(is_graph(Path(file)) for file in files):
        raise click.UsageError("--precision is for checkpoints and artifacts: a graph runs in its own number type")
    if backends and all(is_graph(Path(file)) for file in files):
        raise click.UsageError("--backend is for checkpoints and artifacts: a graph is run by its own runtime")
    unwind()
    question = work.Question(
        files, backends or ("torch",), image_size, batch_sizes, threads, device, precision, runs, warm_up
    )
    with told_as(lambda: "nothing was written"):
        measured = work.benchmark(question, console)
    _print(measured, form, console)


def _print(measured: Benchmark, form: str | None, console: Console) -> None:
    if form == "json":
        console.document(json.dumps({"schema": BENCHMARK_SCHEMA, **document(measured)}, indent=2, allow_nan=False))
        return
    warnings = list(warnings_of(measured))
    if form == "md":
        parts = [f"## {escaped(title)}\n\n{table(lines).markdown()}" for title, lines in groups(measured)]
        told = (*sentences(measured), *(f"warning: {each}" for each in warnings))
        parts += ["\n".join(f"- {escaped(each)}" for each in told)]
        console.result("\n\n".join(parts))
        return
    for number, (title, lines) in enumerate(groups(measured)):
        console.heading(("\n" if number else "") + title)
        console.result(table(lines).text())
    console.result("")
    for sentence in sentences(measured):
        console.result(sentence)
    for warning in warnings:
        console.warn(f"warning: {warning}")
