"""`compressor export`: a model in the format of another tool."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.export.mark import EXPORTED_BY
from compressor.files.writing import check_place
from compressor.recipe.exports import TRAITS, ExportFormat, Nms
from compressor.recipe.load import check_part
from compressor.recipe.schema import Evaluation
from compressor.results.units import megabytes

_NMS = Nms()
_OPENVINO_FILES = ["model.bin", "model.xml", "model.yaml"]


@click.command(short_help="Write a model for YOLOv5, ONNX, OpenVINO or TorchScript.")
@console_options
@click.argument("file", shell_complete=complete_file)
@click.option("--format", "form", type=click.Choice(get_args(ExportFormat)), required=True, help="What to write.")
@click.option("--output", type=click.Path(path_type=Path), metavar="PLACE", help="Where; here when not given.")
@click.option(
    "--image-size",
    type=int,
    default=Evaluation().image_size,
    show_default=True,
    help="Side in pixels of the squares that a graph takes, rounded up to the network's stride.",
)
@click.option("--dynamic-size", is_flag=True, help="Let an onnx or openvino graph take images of any size.")
@click.option("--nms", is_flag=True, help="Make non-maximum suppression part of an onnx graph.")
@click.option(
    "--conf-thres",
    type=float,
    default=_NMS.conf_thres,
    show_default=True,
    help="With --nms: least score.",
)
@click.option(
    "--iou-thres",
    type=float,
    default=_NMS.iou_thres,
    show_default=True,
    help="With --nms: most overlap.",
)
@click.option(
    "--max-det",
    type=int,
    default=_NMS.max_det,
    show_default=True,
    help="With --nms: most detections per image and class.",
)
@click.option(
    "--images",
    default="shapes.yaml",
    show_default=True,
    metavar="FOLDER|YAML",
    shell_complete=complete_file,
    help="Images to compare the file with the model on.",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
def export(
    *,
    file: str,
    form: ExportFormat,
    output: Path | None,
    image_size: int,
    dynamic_size: bool,
    nms: bool,
    conf_thres: float,
    iou_thres: float,
    max_det: int,
    images: str,
    force: bool,
    console: Console,
) -> None:
    """Write a checkpoint or an artifact for another tool, zeros baked in, and compare both on images before it is put
    in place.

    \b
    Formats:
    yolov5       a .pt that YOLOv5's own scripts load
    dense        a safetensors state dict with YOLOv5's names
    onnx         decoded boxes as YOLOv5's export gives; or detections, with --nms
    openvino     a folder with OpenVINO's .xml and .bin, and the .yaml by which YOLOv5 opens it
    torchscript  for squares of one size

    \b
    Example:
      compressor export reports/yolov5n_global30/model.safetensors --format onnx --dynamic-size
    """  # noqa: D205  # click shows the first sentence whole
    traits = TRAITS[form]
    _check(("image_size", "dynamic_size"), traits.graph, f"{form} has no size")
    _check(("image_size",), not dynamic_size, "a graph of any size has none")
    _check(("dynamic_size",), traits.any_size, f"{form} takes squares of one size")
    _check(("nms",), traits.suppression, "only onnx takes non-maximum suppression into the graph")
    _check(("conf_thres", "iou_thres", "max_det"), nms, "it goes with --nms")
    check_part(Evaluation, {"image_size": image_size})
    thresholds = check_part(Nms, {"conf_thres": conf_thres, "iou_thres": iou_thres, "max_det": max_det})
    source = Path(file)
    place = output or Path(source.stem + TRAITS[form].ending)
    _check_ending(place, form, source)

    def check() -> None:
        check_place(place, "exported model", "place", lambda path: _is_ours(path, form), force=force)

    check()
    from compressor.evaluation.network import Suppression
    from compressor.export.write import Options
    from compressor.run.exports import bytes_of, export_file

    unwind()
    options = Options(image_size, dynamic_size, Suppression(**dict(thresholds)) if nms else None)
    agreement = export_file(file, form, options, images, place, check, console)
    console.written = place
    console.result(f"{place}: {megabytes(bytes_of(place))} MB")
    console.result(
        f"On {agreement.images} images boxes differ from the model's by at most {agreement.pixels:.2g} px, "
        f"probabilities by at most {agreement.probability:.2g}."
    )


def _check(names: Iterable[str], allowed: bool, reason: str) -> None:
    """Refuse options that were given and would do nothing."""
    context = click.get_current_context()
    for name in names:
        if not allowed and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')}: {reason}")


def _check_ending(place: Path, form: ExportFormat, source: Path) -> None:
    """Refuse a name by which the file could not be opened again, and the source itself."""
    ending = Path(f"model{TRAITS[form].ending}").suffix
    if place.suffix.lower() != ending:
        raise click.UsageError(f"--output: {form} goes to {f'a file that ends in {ending}' if ending else 'a folder'}")
    if place.resolve() == source.resolve():
        raise click.UsageError("--output: it would replace the file that is exported")


def _is_ours(path: Path, form: ExportFormat) -> bool:
    """Whether what stands there was written by an export of this format."""
    if form == "openvino":
        files = sorted(path.iterdir()) if path.is_dir() else []
        names = [each.name for each in files if each.is_file()]
        known = (_OPENVINO_FILES, _OPENVINO_FILES[:2])  # earlier versions wrote two
        whole = len(names) == len(files) and names in known
        return whole and EXPORTED_BY.encode() in files[1].read_bytes()
    if not path.is_file():
        return False
    return EXPORTED_BY.encode() in path.read_bytes()
