"""What a recipe can do to a model: every modifier with its keys, their types, ranges and defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
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
from compressor.recipe.part import Dependents, Name, Part, models_in, types_of, where_it_counts
from compressor.recipe.sizes import SIZE, SIZE_HELP, parse_size
from compressor.recipe.targets import N_OF_M, Target, entry_text

TAGS = ("\uffffnumber", "\uffffmapping", "\uffffbudget")  # of a union's members in pydantic's locations; no key is so


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


def _known_size(text: str) -> str:
    try:
        parse_size(text)
    except ValueError:
        details = {"text": text, "help": SIZE_HELP}
        raise PydanticCustomError("R105", "must be a size, got the text '{text}'", details) from None
    return text


def is_budget(value: Any) -> bool:
    """Whether a sparsity as it is written asks for a budget, rightly or not; no layer is called like its keys."""
    if isinstance(value, dict):
        return any(did_you_mean(str(key).lower(), Budget.model_fields) for key in value)
    return isinstance(value, Budget)


def _kind_of_sparsity(value: Any) -> str:
    if is_budget(value):
        return TAGS[2]
    return TAGS[1] if isinstance(value, dict) else TAGS[0]


def _check_no_pattern(info: ValidationInfo) -> None:
    """Refuse what says how many weights go where an N:M pattern does so already."""
    pattern = info.data.get("pattern", "unstructured")
    if pattern != "unstructured":
        message = "contradicts the pattern {pattern}, which says by itself how many weights go"
        raise PydanticCustomError("R114", message, {"pattern": pattern, "help": "take one of the two out"})


AP_IMAGES = 128  # to search on, unless told otherwise
_SIZE_SCHEMA = {"type": "string", "pattern": f"^{SIZE}$"}
_PATTERN_SCHEMA = {"anyOf": [{"const": "unstructured"}, {"type": "string", "pattern": N_OF_M}]}

Pattern = Annotated[str, AfterValidator(_known_pattern), WithJsonSchema(_PATTERN_SCHEMA)]
Sparsity = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]  # fraction of weights set to 0
Sparsities = Annotated[dict[Target, Sparsity], Field(min_length=1)]
Targets = Annotated[tuple[Target, ...], Field(strict=False)]  # strict mode would refuse a YAML list for a tuple


class Calibration(Part):
    """Which unlabelled images show what the layers are given."""

    images: int = Field(32, ge=1, le=100_000, description="how many, drawn at random; all where there are fewer")
    data: Name = Field(None, min_length=1, description="a folder of images, or a data set other than the recipe's")
    split: Literal["train", "val", "test"] = Field("train", description="which split of the data set to draw from")
    image_size: int = Field(640, ge=32, le=8192, description="side in pixels of the square they are fitted into")
    seed: int = Field(0, ge=0, lt=2**32, description="decides which images are drawn, and all else that is random")
    judged: bool = Field(False, description="let images be drawn that the evaluation judges on; figures then flatter")


class Budget(Part):
    """How much AP may be lost, or how large the file may be; the run finds the sparsity. One of the two is given."""

    ap_drop: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        None, description="the highest sparsity whose AP is at most this below the model's before, as in 0.005"
    )
    size: Annotated[str, AfterValidator(_known_size), WithJsonSchema(_SIZE_SCHEMA)] | None = Field(
        None, description="the lowest sparsity whose file is at most this large: 2.5MB, or 60% of the dense file"
    )
    images: int | None = Field(
        None,
        ge=1,
        validate_default=True,
        description="images to search on with `ap_drop`, the first of the split; what is found is confirmed on all. "
        "Default 128",
    )

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.ap_drop is None) == (self.size is None):
            message = "must name one of ap_drop and size"
            help_text = "take one of the two out" if self.size else "write {ap_drop: 0.005} or {size: 2.5MB}"
            raise PydanticCustomError("R114", message, {"help": help_text})
        return self

    @field_validator("images")
    @classmethod
    def _suits_the_goal(cls, value: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("size") is None:
            return AP_IMAGES if value is None else value
        if value is not None:
            message = "means nothing with size, which is searched for without images"
            raise PydanticCustomError("R114", message, {"help": "take it out"})
        return None


SCORES: Dependents = {"seed": (0, "random"), "calibration": (Calibration(), "wanda")}
ALLOCATIONS: Dependents = {"table": (None, "sensitivity")}


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
    score: Literal["magnitude", "raw_magnitude", "folded_magnitude", "wanda", "random"] = Field(
        "magnitude",
        description="what makes a weight important: its magnitude as the step finds it, before or after folding its "
        "BatchNorm whatever `fuse` says, its magnitude times the size of its inputs, or nothing but chance",
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(
        None, validate_default=True, description="of score: random; default 0"
    )
    calibration: Calibration | None = Field(
        None, validate_default=True, description="images for score: wanda", json_schema_extra={"default": None}
    )
    allocation: Literal["uniform", "global", "lamp", "erk", "sensitivity"] | None = Field(
        None,
        validate_default=True,
        description="how the sparsity is shared out: the same in every layer, by one threshold over all layers, "
        "by LAMP scores, by Erdos-Renyi-Kernel densities, or by a measured table; not with an N:M pattern",
    )
    table: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        validate_default=True,
        description="of allocation: sensitivity: the file that `compressor sensitivity` wrote, named from the folder "
        "of the recipe",
    )
    sparsity: (
        Annotated[
            Annotated[Sparsity, Tag(TAGS[0])] | Annotated[Sparsities, Tag(TAGS[1])] | Annotated[Budget, Tag(TAGS[2])],
            Discriminator(_kind_of_sparsity),
        ]
        | None
    ) = Field(
        None,
        validate_default=True,
        description="fraction of the targeted weights to set to zero; or one per target, where the last matching "
        "key counts; or a budget; not with an N:M pattern",
    )

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(2, 4) for the pattern "2:4": of every 4 weights 2 stay; None where any weight may go."""
        return _n_of_m(self.pattern)

    @property
    def budget(self) -> Budget | None:
        """What the sparsity is to be found from; None where it is given."""
        return self.sparsity if isinstance(self.sparsity, Budget) else None

    @field_validator("seed", "calibration")
    @classmethod
    def _suits_the_score(cls, value: Any, info: ValidationInfo) -> Any:
        return where_it_counts(value, info, "score", SCORES)

    @field_validator("table")
    @classmethod
    def _suits_the_allocation(cls, value: str | None, info: ValidationInfo) -> Any:
        if value is None and info.data.get("allocation") == "sensitivity":
            help_text = "add the key 'table' with the file that `compressor sensitivity` wrote"
            raise PydanticCustomError("R102", "is missing", {"help": help_text})
        if value is not None:
            _check_no_pattern(info)
        return where_it_counts(value, info, "allocation", ALLOCATIONS)

    @model_validator(mode="before")
    @classmethod
    def _sparsities_name_the_targets(cls, values: Any) -> Any:
        sparsities = values.get("sparsity") if isinstance(values, dict) else None
        if not isinstance(sparsities, dict) or is_budget(sparsities):
            return values
        if "targets" not in values and all(map(entry_text, sparsities)):
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
        if value is not None:
            _check_no_pattern(info)
        return value


METHODS: Dependents = {
    "damping": (0.03, "least_squares", "obs"),
    "crops": (2, "least_squares", "obs"),
    "crop": (384, "least_squares", "obs", "distill"),
    "steps": (400, "distill"),
    "batch_size": (8, "distill"),
    "learning_rate": (0.0005, "distill"),
}


class Repair(Part):
    """Bring the layers' outputs back towards the dense model's on unlabelled images; no zero is lost."""

    type: Literal["repair"]
    targets: Annotated[Targets, Field(min_length=1)] = Field(
        ("*",), description="which convolutions to repair, written as those of prune; the others stay as they are"
    )
    ignore: Targets = Field((), description="what to leave out of the targets, written the same way")
    method: Literal["bias", "moments", "least_squares", "obs", "distill", "batchnorm"] = Field(
        "least_squares",
        description="match every channel's mean; its mean and variance; solve the kept weights again layer by layer; "
        "choose the zeros again so that the rest can best make up for them, and solve; train the kept weights towards "
        "the dense model; or measure the statistics of BatchNorm again",
    )
    calibration: Calibration = Calibration()
    damping: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = Field(
        None,
        validate_default=True,
        description="of least_squares and obs: pull towards the weights as they were, as a share of the inputs' mean "
        "square; default 0.03",
    )
    crops: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, validate_default=True, description="of least_squares and obs: random crops of each image; default 2"
    )
    crop: Annotated[int, Field(ge=32, le=8192)] | None = Field(
        None,
        validate_default=True,
        description="of least_squares, obs and distill: side in pixels of the random crops, at most `image_size`; "
        "default 384",
    )
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, validate_default=True, description="of distill: steps of gradient descent; default 400"
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, validate_default=True, description="of distill: crops per step; default 8"
    )
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        None,
        validate_default=True,
        description="of distill: step size as a share of the root mean square of a layer's weights; default 0.0005",
    )

    @field_validator(*METHODS)
    @classmethod
    def _suits_the_method(cls, value: Any, info: ValidationInfo) -> Any:
        return where_it_counts(value, info, "method", METHODS)


Modifier = Annotated[Prune | Repair, Field(discriminator="type")]
MODIFIERS = {word: part for part in models_in(Modifier) for word in types_of(part)}
