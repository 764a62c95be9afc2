"""What every mapping of the recipe language has in common, and what the annotation of a key tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

NOTHING = object()  # what a key holds that is written without a value: something that no type takes

Dependents = dict[str, tuple[Any, ...]]  # by key: its default, and the choices of another key that use it


def _named(name: Any) -> Any:
    if isinstance(name, str) and not name.strip():
        raise PydanticCustomError("R103", "must not be empty", {"help": "write a name, or take the key out"})
    return name


Name = Annotated[str | None, BeforeValidator(_named)]  # of a file or a data set; None where it is left out
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Part(BaseModel):
    """A mapping of the recipe: unknown keys are refused, values are not converted, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_no_value(cls, values: Any) -> Any:
        """What may be left out may not be there with nothing after it."""
        if not isinstance(values, dict):
            return values
        optional = {key for key, field in cls.model_fields.items() if field.default is None}
        return {key: NOTHING if value is None and key in optional else value for key, value in values.items()}


def where_it_counts(value: Any, info: ValidationInfo, chooser: str, settings: Dependents) -> Any:
    """A setting that only some choices of another key use: its default there, refused elsewhere."""
    default, *owners = settings[str(info.field_name)]
    if chooser not in info.data:  # which is at fault itself
        return value
    choice = info.data[chooser]
    if choice in owners:
        return default if value is None else value
    if value is not None:
        message = "means nothing with {chooser}: {choice}"
        help_text = f"take it out, or write {chooser}: {' or '.join(owners)}"
        raise PydanticCustomError("R114", message, {"chooser": chooser, "choice": choice, "help": help_text})
    return None


def models_in(annotation: Any) -> list[type[Part]]:
    """The mappings that a field's annotation names, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def is_section(annotation: Any) -> bool:
    """Whether a field holds a mapping of the schema, or nothing: it cannot be a value by itself."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_section(members[0])
    if origin in (Union, UnionType):
        return all(is_section(member) for member in members if member is not NoneType)
    return isinstance(annotation, type) and issubclass(annotation, Part)


def words_of(annotation: Any) -> list[str]:
    """The words that a field's annotation allows, as a recipe writes them; none for free text and numbers."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for inner in get_args(annotation) for word in words_of(inner)]


def of_type(parts: Sequence[type[Part]], word: object) -> list[type[Part]]:
    """Those of `parts` whose `type` is the word; all where it is that of none, or they have no `type`."""
    return [part for part in parts if word in types_of(part)] or list(parts)


def types_of(part: type[Part]) -> list[str]:
    """The words that the key `type` of a mapping may hold; none where it has no such key."""
    field = part.model_fields.get("type")
    return words_of(field.annotation) if field else []
