"""`compressor evaluate`: judge a weights file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, get_args, get_origin

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.data_warnings import print_data_warnings
from compressor.cli.interrupts import unwind
from compressor.cli.recipe_options import other_names_option
from compressor.progress import warn_of
from compressor.recipe.load import check_part
from compressor.recipe.schema import Evaluation as Settings
from compressor.report.metric_tables import evaluation_coco_table, evaluation_detection_table, evaluation_speed_line
from compressor.results.alike import absences
from compressor.results.document import to_json
from compressor.results.evaluation import EVALUATION_SCHEMA


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """One option per key of the recipe's `evaluation` section, with its type, default and description."""
    for name, field in reversed(Settings.model_fields.items()):
        if name == "baseline":  # there is but one model to judge
            continue
        kind: Any = field.annotation
        if name == "other_names":
            command = other_names_option(command)
            continue
        choices = click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind
        description = field.description or ""
        help_text = f"{description[:1].upper()}{description[1:]}."
        option = click.option(
            f"--{name.replace('_', '-')}", type=choices, default=field.default, show_default=True, help=help_text
        )
        command = option(command)
    return command


@click.command(short_help="Judge a weights file on a data set.")
@console_options
@click.argument("weights", shell_complete=complete_file)
@click.option(
    "--data",
    required=True,
    metavar="YAML",
    shell_complete=complete_file,
    help="YOLOv5 dataset YAML, or a name such as coco.yaml.",
)
@_settings_options
@click.option("--seen", is_flag=True, help="Judge an artifact even on images by which it was repaired.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document in full precision.")
def evaluate(
    *, weights: str, data: str, device: str, seen: bool, as_json: bool, console: Console, **settings: Any
) -> None:
    """Judge a weights file: P, R and mAP as YOLOv5 prints them, the 12 COCO figures, and the speed.

    WEIGHTS is a YOLOv5 checkpoint (.pt), a safetensors file, or a name such as yolov5n.pt; or what `compressor export`
    writes for other runtimes: .onnx, a folder with an OpenVINO .xml, or .torchscript, which is a program: judge only
    those that you trust. A graph of one image size is judged on squares of it.

    \b
    Example:
      compressor evaluate yolov5n.pt --data coco128.yaml --batch-size 8
    """
    judged = check_part(Settings, settings)
    from compressor.run import pipeline

    unwind()
    summary, evaluation, assumed = pipeline.evaluate(weights, data, judged, device, console, seen=seen)
    warn_of(console, assumed, "")
    if as_json:
        beside = {"weights": weights, "model": asdict(summary) if summary else None, "warnings": assumed}
        console.document(to_json(evaluation, schema=EVALUATION_SCHEMA, **beside).rstrip())
        return
    console.heading("COCO metrics")
    console.result(evaluation_coco_table(evaluation.metrics.coco).text())
    console.heading("\nYOLOv5's own metric")
    console.result(evaluation_detection_table(evaluation).text())
    for sentence in absences(evaluation):
        console.result(sentence)
    console.result(f"\n{evaluation_speed_line(evaluation)}")
    print_data_warnings(evaluation.data, console)
