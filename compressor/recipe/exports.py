"""In which other formats a recipe ships its model: every key with its type, range and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from compressor.recipe.part import Dependents, Fraction, Part, where_it_counts

ExportFormat = Literal["yolov5", "dense", "onnx", "openvino", "torchscript"]


@dataclass(frozen=True)
class Traits:
    """What can be done with files of a format.

    Attributes:
        ending: of the name, after that of the source.
        graph: made for images of some size, and run by a runtime of its own.
        any_size: can be made to take images of any size.
        suppression: can hold non-maximum suppression.
        program: opening one runs what it says, so only those that are trusted may be opened.
        trained_on: YOLOv5's own scripts train on from it.
        packages: needed to write it, beside compressor's own.
    """

    ending: str = ""
    graph: bool = False
    any_size: bool = False
    suppression: bool = False
    program: bool = False
    trained_on: bool = False
    packages: tuple[str, ...] = ()


_ONNX = ("onnx", "onnxscript")
TRAITS: dict[ExportFormat, Traits] = {
    "yolov5": Traits("_yolov5.pt", trained_on=True),
    "dense": Traits("_dense.safetensors"),
    "onnx": Traits(".onnx", graph=True, any_size=True, suppression=True, packages=(*_ONNX, "onnxruntime")),
    "openvino": Traits("_openvino_model", graph=True, any_size=True, packages=("openvino", *_ONNX)),
    "torchscript": Traits(".torchscript", graph=True, program=True),
}
FORMATS: Dependents = {
    "image_size": (None, *(name for name, traits in TRAITS.items() if traits.graph)),
    "dynamic_size": (False, *(name for name, traits in TRAITS.items() if traits.any_size)),
    "nms": (None, *(name for name, traits in TRAITS.items() if traits.suppression)),
}


def traits_of(recorded: str) -> Traits:
    """The traits of a format that a run.json names; those of a newer version are not known, and have none here."""
    return next((traits for name, traits in TRAITS.items() if name == recorded), Traits())


class Nms(Part):
    """Non-maximum suppression as part of the graph; the thresholds are those that YOLOv5 detects and exports with."""

    conf_thres: Fraction = Field(0.25, description="lowest score of a detection")
    iou_thres: Fraction = Field(0.45, description="overlap above which the lower-scored box of a class is suppressed")
    max_det: int = Field(300, ge=1, le=30000, description="most detections per image and class")


class Export(Part):
    """The compressed model in the format of another tool, beside the artifact in the run folder."""

    format: ExportFormat = Field(
        description="a .pt for YOLOv5's own scripts, a safetensors state dict, or a graph for onnxruntime, OpenVINO or "
        "TorchScript"
    )
    dynamic_size: bool | None = Field(
        None, validate_default=True, description="of onnx and openvino: take images of any size; default false"
    )
    image_size: int | None = Field(
        None,
        ge=32,
        le=8192,
        validate_default=True,
        description="of a graph without dynamic_size: side in pixels of the squares it takes, rounded up to the "
        "stride; that of the evaluation when not given",
    )
    nms: Nms | None = Field(
        None, validate_default=True, description="of onnx: non-maximum suppression as part of the graph"
    )
    evaluate: bool = Field(True, description="judge the file by its own runtime, as the model was judged")

    @field_validator(*FORMATS)
    @classmethod
    def _suits_the_format(cls, value: Any, info: ValidationInfo) -> Any:
        return where_it_counts(value, info, "format", FORMATS)

    @field_validator("image_size")
    @classmethod
    def _suits_the_size(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("dynamic_size"):
            message = "means nothing with dynamic_size: true"
            raise PydanticCustomError("R114", message, {"help": "take one of the two out"})
        return value

    @property
    def file_name(self) -> str:
        """Of the file or folder in the run folder."""
        return f"model{'_nms' if self.nms else ''}{TRAITS[self.format].ending}"
