"""The keys of `prune`, their types, ranges and defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

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
from compressor.recipe.modifiers.budget import Budget, is_budget
from compressor.recipe.modifiers.step import Alters, Calibration, Selection, Step, Targets
from compressor.recipe.part import Dependents, where_it_counts
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


_PATTERN_SCHEMA = {"anyOf": [{"const": "unstructured"}, {"type": "string", "pattern": N_OF_M}]}

Pattern = Annotated[str, AfterValidator(_known_pattern), WithJsonSchema(_PATTERN_SCHEMA)]
Sparsity = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]  # fraction of weights set to 0
Sparsities = Annotated[dict[Target, Sparsity], Field(min_length=1)]

SCORES: Dependents = {"seed": (0, "random"), "calibration": (Calibration(), "wanda")}
ALLOCATIONS: Dependents = {"table": (None, "sensitivity")}


class Prune(Step):
    """Set the least important weights of the target layers to zero (Han et al. 2015, arXiv:1506.02626)."""

    alters: ClassVar[frozenset[Alters]] = frozenset({"zeros"})

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
    def selection(self) -> Selection:
        """The layers to prune, with the keys of `sparsity` where that is a mapping."""
        keys = tuple(self.sparsity) if isinstance(self.sparsity, dict) else ()
        return Selection(self.targets, self.ignore, "sparsity", keys)

    @property
    def images(self) -> Calibration | None:
        """For score: wanda."""
        return self.calibration

    @property
    def tables(self) -> Mapping[str, str]:
        """For allocation: sensitivity."""
        return {} if self.table is None else {"table": self.table}

    @property
    def goal(self) -> tuple[str, Budget] | None:
        """The goal in place of `sparsity`; None where it is given."""
        return ("sparsity", self.sparsity) if isinstance(self.sparsity, Budget) else None

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
