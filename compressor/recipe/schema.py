"""The recipe language: the sections of a recipe; `modifiers.py` and `exports.py` hold the keys of what they list.

The schema offers only what the engine does today. Each field's description is what the reference docs show.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from compressor.recipe.exports import Export
from compressor.recipe.gates import GateText, parse_gate
from compressor.recipe.modifiers import Modifier
from compressor.recipe.part import Fraction, Name, Part

Precision = Literal["auto", "float32", "bfloat16"]
CocoEngine = Literal["compiled", "pycocotools"]

FILE_KEYS = {
    "extends": "a recipe this one builds on, relative to this file, or a list of them",
    "variables": "numbers or text by name, filled in wherever ${name} or ${2 * name} is written",
}  # of the file rather than of the recipe: resolved before it is checked
MOST_MODIFIERS = 50


class Model(Part):
    """Which model to compress."""

    weights: Name = Field(None, min_length=1, description="a path, a URL, or a name such as yolov5x.pt")
    fuse: Literal["before", "after", "never"] = Field(
        "before", description="fold BatchNorm into the convolutions before the modifiers, after them, or never"
    )


class Evaluation(Part):
    """How to judge the model, before and after."""

    baseline: bool = Field(True, description="judge the model before the modifiers too")
    split: Literal["train", "val", "test"] = Field("val", description="which split of the data set to judge on")
    image_size: int = Field(640, ge=32, le=8192, description="longer side of the images in pixels")
    batch_size: int = Field(32, ge=1, le=4096, description="images per batch; shapes, and so figures, depend on it")
    conf_thres: Fraction = Field(0.001, description="lowest score of a detection")
    iou_thres: Fraction = Field(0.65, description="overlap above which the lower-scored box is suppressed")
    max_det: int = Field(300, ge=1, le=30000, description="most detections per image")
    resize: Literal["floor", "ceil"] = Field(
        "ceil", description="rounding of resized image sides: ceil as in YOLOv5 today, floor as in releases up to v7.0"
    )
    precision: Precision = Field(
        "auto", description="number type in which the model runs: auto is float16 on CUDA, float32 on the CPU"
    )
    coco_engine: CocoEngine = Field(
        "compiled", description="what works out the COCO figures; they are the same, pycocotools takes longer"
    )
    other_names: bool = Field(
        False,
        description="accept a data set that names classes otherwise than the model; another order is never accepted",
    )


class Artifact(Part):
    """How to save the compressed model."""

    dtype: Literal["float16", "float32"] = Field("float16", description="number type of the saved weights")
    layout: Literal["bitmask", "dense"] = Field(
        "bitmask", description="bitmask stores only non-zero weights and one bit per weight; dense stores all"
    )


class Report(Part):
    """What the report holds, and what must not come of the run."""

    template: Name = Field(
        None,
        min_length=1,
        description="a Jinja2 template in the place of the shipped one, named from the recipe's folder",
    )
    examples: int = Field(
        4, ge=0, le=24, description="images shown with boxes before and after, those in which the two differ most"
    )
    reference: Name = Field(
        None,
        min_length=1,
        description="a smaller model to compare with: what `compressor evaluate --json` printed on the same data, "
        "named from the recipe's folder",
    )
    fail_if: Annotated[tuple[GateText, ...], Field(strict=False)] = Field(
        (), description="gates, such as `AP < -2.5` in points: the run writes everything and exits 1 where one holds"
    )


def _no_default(schema: dict[str, Any]) -> None:
    """What stands for a key that is left out cannot be written."""
    schema.pop("default", None)


class Recipe(Part):
    """What to compress, how, how far, and how to judge the result."""

    version: int = Field(ge=1, le=1, description="version of the recipe language")
    description: str = Field("", description="one sentence that says what the recipe is for")
    model: Model = Model()
    data: Name = Field(None, min_length=1, description="a YOLOv5 dataset YAML, or a name such as coco.yaml")
    modifiers: Annotated[tuple[Modifier, ...], Field(strict=False, min_length=1, max_length=MOST_MODIFIERS)] = Field(
        (),
        description="what to do to the model, in order; without the key it is evaluated and packed as it is",
        json_schema_extra=_no_default,  # for an empty list is an error
    )
    evaluation: Evaluation = Evaluation()
    artifact: Artifact = Artifact()
    exports: Annotated[tuple[Export, ...], Field(strict=False)] = Field(
        (), description="other formats to ship the model in"
    )

    report: Report = Report()

    @field_validator("modifiers")
    @classmethod
    def _one_budget(cls, modifiers: tuple[Modifier, ...]) -> tuple[Modifier, ...]:
        asking = [(i, each.type, each.goal[0]) for i, each in enumerate(modifiers) if each.goal is not None]
        fault = PydanticCustomError(
            "R114",
            "asks for a second budget; only one can be settled by a run",
            {"help": "write a number there: settle one budget, then the other with the sparsity that was found"},
        )
        if asking[1:]:
            details = [InitErrorDetails(type=fault, loc=where, input=None) for where in asking[1:]]
            raise ValidationError.from_exception_data("modifiers", details)
        return modifiers

    @field_validator("report")
    @classmethod
    def _gates_have_figures(cls, report: Report, info: ValidationInfo) -> Report:
        evaluation = info.data.get("evaluation")
        if evaluation is None or evaluation.baseline:
            return report
        details = {"help": "take baseline: false out, or use gates such as after.AP < 45"}
        fault = PydanticCustomError("R114", "needs the model before, which baseline: false leaves out", details)
        faults = [
            InitErrorDetails(type=fault, loc=("fail_if", index), input=None)
            for index, text in enumerate(report.fail_if)
            if parse_gate(text).compares
        ]
        if faults:
            raise ValidationError.from_exception_data("report", faults)
        return report

    @field_validator("exports")
    @classmethod
    def _one_file_each(cls, exports: tuple[Export, ...]) -> tuple[Export, ...]:
        names = [export.file_name for export in exports]
        faults = [
            InitErrorDetails(type=_same_file(name, names.index(name)), loc=(index, "format"), input=None)
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if faults:
            raise ValidationError.from_exception_data("exports", faults)
        return exports


def _same_file(name: str, earlier: int) -> PydanticCustomError:
    help_text = "take one of the two out"
    details = {"name": name, "earlier": earlier, "help": help_text}
    return PydanticCustomError("R114", "would write {name}, as exports[{earlier}] does", details)
