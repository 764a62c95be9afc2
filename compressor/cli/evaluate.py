"""`compressor evaluate`: judge a weights file."""

from __future__ import annotations

from dataclasses import asdict

import click

from compressor.cli.console import Console, console_options
from compressor.recipe.schema import Evaluation as Settings
from compressor.report.tables import evaluation_coco_table, evaluation_detection_table, evaluation_speed_line
from compressor.results import EVALUATION_SCHEMA, to_json

_DEFAULTS = Settings()


@click.command(short_help="Judge a weights file on a data set.")
@click.argument("weights")
@click.option("--data", required=True, metavar="YAML", help="YOLOv5 dataset YAML, or a name such as coco.yaml.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default=_DEFAULTS.split, show_default=True)
@click.option("--image-size", type=click.IntRange(32, 8192), default=_DEFAULTS.image_size, show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 4096), default=_DEFAULTS.batch_size, show_default=True)
@click.option("--conf-thres", type=click.FloatRange(0, 1), default=_DEFAULTS.conf_thres, show_default=True)
@click.option("--iou-thres", type=click.FloatRange(0, 1), default=_DEFAULTS.iou_thres, show_default=True)
@click.option("--max-det", type=click.IntRange(1, 30000), default=_DEFAULTS.max_det, show_default=True)
@click.option("--resize", type=click.Choice(["floor", "ceil"]), default=_DEFAULTS.resize, show_default=True)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document in full precision.")
@console_options
def evaluate(
    weights: str,
    data: str,
    device: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    color: str,
    **settings: str | int | float,
) -> None:
    """Judge a weights file: P, R and mAP as YOLOv5 prints them, the 12 COCO figures, and the speed.

    WEIGHTS is a YOLOv5 checkpoint (.pt), a safetensors file, or a name such as yolov5n.pt.

    \b
    Example:
      compressor evaluate yolov5n.pt --data coco128.yaml --batch-size 8
    """
    console = Console(quiet=quiet, verbose=verbose, color=color)
    from compressor import pipeline
    from compressor.yolov5.describe import summarise

    judged = Settings.model_validate(settings)
    source, evaluation = pipeline.evaluate(weights, data, judged, device, console)
    if as_json:
        model = asdict(summarise(source.model))
        console.result(to_json(evaluation, schema=EVALUATION_SCHEMA, weights=weights, model=model).rstrip())
        return
    console.heading("COCO metrics")
    console.result(evaluation_coco_table(evaluation.metrics.coco).text())
    console.heading("\nYOLOv5's own metric")
    console.result(evaluation_detection_table(evaluation).text())
    console.result(f"\n{evaluation_speed_line(evaluation)}")
    for sentence in evaluation.data.skipped:
        console.note(sentence)
    if evaluation.data.skipped and not verbose:
        console.result(f"{len(evaluation.data.skipped)} warnings about the data: see them with --verbose")
