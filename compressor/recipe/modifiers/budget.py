"""A goal in the place of a number: the run finds the number that reaches it."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from compressor.errors import did_you_mean
from compressor.recipe.part import Part
from compressor.recipe.sizes import SIZE, SIZE_HELP, parse_size

AP_IMAGES = 128  # to search on, unless told otherwise
_SIZE_SCHEMA = {"type": "string", "pattern": f"^{SIZE}$"}


def _known_size(text: str) -> str:
    try:
        parse_size(text)
    except ValueError:
        details = {"text": text, "help": SIZE_HELP}
        raise PydanticCustomError("R105", "must be a size, got the text '{text}'", details) from None
    return text


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


def is_budget(value: Any) -> bool:
    """Whether a sparsity as it is written asks for a budget, rightly or not; no layer is called like its keys."""
    if isinstance(value, dict):
        return any(did_you_mean(str(key).lower(), Budget.model_fields) for key in value)
    return isinstance(value, Budget)
