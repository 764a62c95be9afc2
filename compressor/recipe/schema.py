"""The recipe language: every key a recipe may hold, with its type, range and default.

The schema offers only what the engine does today. Each field's description is what the reference docs show.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from compressor.errors import did_you_mean
from compressor.recipe.targets import Target, entry_text

FILE_KEYS = {
    "extends": "a recipe this one builds on, relative to this file, or a list of them",
    "variables": "numbers or text by name, filled in wherever ${name} or ${2 * name} is written",
}  # of the file rather than of the recipe: resolved before it is checked

TAGS = ("one for all", "one per target")  # of a union's members; they stand in pydantic's locations
_N_OF_M = re.compile(r"([1-9][0-9]?):([1-9][0-9]?)")


def _known_pattern(text: str) -> str:
    found = _N_OF_M.fullmatch(text)
    if text != "unstructured" and not (found and int(found[1]) < int(found[2])):
        message = "must be 'unstructured' or \"N:M\" with N below M, got the text '{text}'"
        help_text = did_you_mean(text, ["unstructured"]) or 'N of every M weights stay; for two of four write "2:4"'
        raise PydanticCustomError("R105", message, {"text": text, "help": help_text})
    return text


_PATTERN_SCHEMA = {"anyOf": [{"const": "unstructured"}, {"type": "string", "pattern": "^[1-9][0-9]?:[1-9][0-9]?$"}]}

Pattern = Annotated[str, AfterValidator(_known_pattern), WithJsonSchema(_PATTERN_SCHEMA)]
Sparsity = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]  # fraction of weights set to 0
Sparsities = Annotated[dict[Target, Sparsity], Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Targets = Annotated[tuple[Target, ...], Field(strict=False)]  # strict mode would refuse a YAML list for a tuple


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
    targets: Annotated[Targets, Field(min_length=1)] = Field(
        ("*",),
        description="which convolutions: layer-name globs, re: patterns, module types, `kernel: 3x3`, or the roles "
        "stem, backbone, neck, detect; where `sparsity` is a mapping its keys, unless told otherwise",
    )
    ignore: Targets = Field((), description="what to leave out of the targets, written the same way")
    pattern: Pattern = Field(
        "unstructured",
        description='which weights may go together: any, or all but N of every M along the input channels, as in "2:4"',
    )
    score: Literal["magnitude"] = Field("magnitude", description="what makes a weight important")
    allocation: Literal["uniform", "global", "lamp", "erk"] | None = Field(
        None,
        validate_default=True,
        description="how the sparsity is shared out: the same in every layer, by one threshold over all layers, "
        "by LAMP scores, or by Erdos-Renyi-Kernel densities; not with an N:M pattern",
    )
    sparsity: (
        Annotated[
            Annotated[Sparsity, Tag(TAGS[0])] | Annotated[Sparsities, Tag(TAGS[1])],
            Discriminator(lambda value: TAGS[1] if isinstance(value, dict) else TAGS[0]),
        ]
        | None
    ) = Field(
        None,
        validate_default=True,
        description="fraction of the targeted weights to set to zero; or one per target, where the last matching "
        "key counts; not with an N:M pattern",
    )

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(2, 4) for the pattern "2:4": of every 4 weights 2 stay; None where any weight may go."""
        found = _N_OF_M.fullmatch(self.pattern)
        return (int(found[1]), int(found[2])) if found else None

    @model_validator(mode="before")
    @classmethod
    def _sparsities_name_the_targets(cls, values: Any) -> Any:
        sparsities = values.get("sparsity") if isinstance(values, dict) else None
        if isinstance(sparsities, dict) and "targets" not in values and all(map(entry_text, sparsities)):
            return {**values, "targets": list(sparsities) or ["*"]}
        return values

    @field_validator("allocation", "sparsity")
    @classmethod
    def _suits_the_pattern(cls, value: Any, info: ValidationInfo) -> Any:
        pattern = info.data.get("pattern")
        if pattern is None:  # which is at fault itself
            return value
        if pattern == "unstructured" and value is None:
            raise PydanticCustomError("R102", "is missing", {"help": f"add the key {info.field_name!r}"})
        if pattern != "unstructured" and value is not None:
            message = "contradicts the pattern {pattern}, which says by itself how many weights go"
            raise PydanticCustomError("R114", message, {"pattern": pattern, "help": "take one of the two out"})
        return value


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
