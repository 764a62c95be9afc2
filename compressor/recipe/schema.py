"""The recipe language: every key a recipe may hold, with its type, range and default.

The schema offers only what the engine does today. Each field's description is what the reference docs show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
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
from compressor.recipe.targets import N_OF_M, Target, entry_text

FILE_KEYS = {
    "extends": "a recipe this one builds on, relative to this file, or a list of them",
    "variables": "numbers or text by name, filled in wherever ${name} or ${2 * name} is written",
}  # of the file rather than of the recipe: resolved before it is checked

TAGS = ("\uffffnumber", "\uffffmapping")  # of a union's members in pydantic's locations; no key can be written so


def _known_pattern(text: str) -> str:
    counts = _n_of_m(text)
    if text != "unstructured" and not (counts and counts[0] < counts[1]):
        message = "must be 'unstructured' or \"N:M\" with N below M, got the text '{text}'"
        help_text = did_you_mean(text, ["unstructured"]) or 'N of every M weights stay; for two of four write "2:4"'
        raise PydanticCustomError("R105", message, {"text": text, "help": help_text})
    return text


def _n_of_m(text: str) -> tuple[int, int] | None:
    n, _, m = text.partition(":")
    return (int(n), int(m)) if re.fullmatch(N_OF_M, text) else None


def _named(name: Any) -> Any:
    if name is None:  # written out; what is left out is not asked
        raise PydanticCustomError("R104", "has no value", {"help": "write one, or take the key out"})
    if isinstance(name, str) and not name.strip():
        raise PydanticCustomError("R103", "must not be empty", {"help": "write a name, or take the key out"})
    return name


_PATTERN_SCHEMA = {"anyOf": [{"const": "unstructured"}, {"type": "string", "pattern": N_OF_M}]}

Pattern = Annotated[str, AfterValidator(_known_pattern), WithJsonSchema(_PATTERN_SCHEMA)]
Sparsity = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]  # fraction of weights set to 0
Sparsities = Annotated[dict[Target, Sparsity], Field(min_length=1)]
Name = Annotated[str | None, BeforeValidator(_named)]  # of a file or a data set; None where it is left out
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Targets = Annotated[tuple[Target, ...], Field(strict=False)]  # strict mode would refuse a YAML list for a tuple


class Part(BaseModel):
    """A mapping of the recipe: unknown keys are refused, values are not converted, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(Part):
    """Which model to compress."""

    weights: Name = Field(None, min_length=1, description="a path, a URL, or a name such as yolov5x.pt")
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
        return _n_of_m(self.pattern)

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
    data: Name = Field(None, min_length=1, description="a YOLOv5 dataset YAML, or a name such as coco.yaml")
    modifiers: Annotated[tuple[Modifier, ...], Field(strict=False, min_length=1)] = Field(
        description="what to do to the model, in order"
    )
    evaluation: Evaluation = Evaluation()
    artifact: Artifact = Artifact()


def models_in(annotation: Any) -> list[type[Part]]:
    """The mappings that a field's annotation names, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def words_of(annotation: Any) -> list[str]:
    """The words that a field's annotation allows, as a recipe writes them; none for free text and numbers."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for inner in get_args(annotation) for word in words_of(inner)]


def of_type(parts: Sequence[type[Part]], word: object) -> list[type[Part]]:
    """Those of `parts` whose `type` is the word; all where it is that of none, or they have no `type`."""
    return [part for part in parts if word in _types(part)] or list(parts)


def _types(part: type[Part]) -> list[str]:
    field = part.model_fields.get("type")
    return words_of(field.annotation) if field else []


MODIFIERS = {word: part for part in models_in(Recipe.model_fields["modifiers"].annotation) for word in _types(part)}
