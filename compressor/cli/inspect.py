"""`compressor inspect`: what is in a weights file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.printable import printable
from compressor.report.tables import stored_layer_table, stored_size_table
from compressor.results.units import megabytes, percent


@click.command(short_help="Say what is in a checkpoint or an artifact.")
@console_options
@click.argument("file", shell_complete=complete_file)
@click.option("--layers", is_flag=True, help="List every convolution with its zeros and its bytes.")
@click.option("--sizes", is_flag=True, help="Weigh the file, and with --layers every layer, raw and gzipped.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, layers included.")
def inspect(*, file: str, layers: bool, sizes: bool, as_json: bool, console: Console) -> None:
    """Say what is in a YOLOv5 checkpoint, an artifact or a state dict. No code in the file ever runs.

    \b
    Example:
      compressor inspect reports/yolov5n_global30/model.safetensors --layers
    """
    from compressor.tasks import inspect as inspection

    unwind()
    seen = inspection.inspect(file, console, weigh=sizes)
    if as_json:
        document = {"schema": "compressor/tasks/inspect/1", "file": file, **asdict(seen)}
        console.document(json.dumps(document, indent=2, ensure_ascii=False))
        return
    model = seen.model
    rows = [
        ("file", f"{Path(file).name}, {megabytes(seen.size_bytes)} MB, {seen.kind}, {seen.dtype}"),
        ("model", f"{model.name}, generation {model.generation}, BatchNorm {'folded' if model.fused else 'separate'}"),
        ("summary", f"{model.layers} layers, {model.parameters:,} parameters, {model.gflops:.1f} GFLOPs at 640 px"),
        ("classes", f"{model.nc}: {', '.join(seen.names)}"),
        ("strides", ", ".join(map(str, model.strides))),
        ("anchors", " / ".join("  ".join(f"{w:g},{h:g}" for w, h in level) for level in seen.anchors)),
        ("sparsity", f"{percent(seen.sparsity)} of the convolution weights are zero"),
        *seen.facts.items(),
    ]
    for label, text in rows:
        console.result(f"{label:<22}  {printable(text)}")
    if seen.sizes is not None:
        console.result("\n" + stored_size_table(seen.sizes, seen.dtype).text())
    if layers:
        console.result("\n" + stored_layer_table(seen.layers).text())
