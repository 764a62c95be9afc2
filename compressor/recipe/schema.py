"""The recipe language: every key a recipe may hold, with its type, range and default.

The schema offers only what the engine does today. Each field's description is what the reference docs show.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Sparsity = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]  # fraction of weights set to 0
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]  # strict mode would refuse a YAML list for a tuple


class Part(BaseModel):
    """A mapping of the recipe: unknown keys are refused, values are not converted, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(Part):
    """Which model to compress."""

    weights: str | None = Field(None, min_length=1, description="a path, a URL, or a name such as yolov5x.pt")
    fuse: Literal["before", "after", "never"] = Field(
        "before", description="fold BatchNorm into the convolutions before the modifiers, after them, or never"
    )


class Prune(Part):
    """Set the least important weights of the target layers to zero (Han et al. 2015, arXiv:1506.02626)."""

    type: Literal["prune"]
    targets: Annotated[Names, Field(min_length=1)] = Field(
        ("*",), description="layer-name globs, re: patterns, module types, or roles: stem, backbone, neck, detect"
    )
    ignore: Names = Field((), description="what to leave out of the targets, written the same way")
    pattern: Literal["unstructured"] = Field("unstructured", description="which weights may go together")
    score: Literal["magnitude"] = Field("magnitude", description="what makes a weight important")
    allocation: Literal["uniform", "global", "lamp", "erk"] = Field(
        description="how the sparsity is shared out: the same in every layer, by one threshold over all layers, "
        "by LAMP scores, or by Erdos-Renyi-Kernel densities"
    )
    sparsity: Sparsity = Field(description="fraction of the targeted weights to set to zero")


Modifier = Prune


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


class Artifact(Part):
    """How to save the compressed model."""

    dtype: Literal["float16", "float32"] = Field("float16", description="number type of the saved weights")
    layout: Literal["bitmask", "dense"] = Field(
        "bitmask", description="bitmask stores only non-zero weights and one bit per weight; dense stores all"
    )


class Recipe(Part):
    """What to compress, how, how far, and how to judge the result."""

    version: int = Field(ge=1, le=1, description="version of the recipe language")
    description: str = Field("", description="one sentence that says what the recipe is for")
    model: Model = Model()
    data: str | None = Field(None, min_length=1, description="a YOLOv5 dataset YAML, or a name such as coco.yaml")
    modifiers: Annotated[tuple[Modifier, ...], Field(strict=False, min_length=1)] = Field(
        description="what to do to the model, in order"
    )
    evaluation: Evaluation = Evaluation()
    artifact: Artifact = Artifact()
