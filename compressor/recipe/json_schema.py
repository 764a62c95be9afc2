"""The recipe language as a JSON Schema, with which editors complete keys, show what they mean and mark slips.

Made from the recipe models, which describe a resolved recipe, and made true for files: these may also extend
others, define variables, and say `${...}` where a number or a word is meant. Whatever the engine accepts the schema
accepts too; only the engine knows whether files, layers and variables are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from compressor.recipe.exports import FORMATS, Export
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.modifiers.prune import ALLOCATIONS, SCORES
from compressor.recipe.modifiers.repair import METHODS
from compressor.recipe.part import Dependents, Part, words_of
from compressor.recipe.schema import FILE_KEYS, Recipe
from compressor.recipe.targets import MODULE_TYPES, N_OF_M, ROLES, Target

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that every YAML editor knows in full
_FIRST = ("title", "description", "default", "type")  # the keywords that a reader looks for
_DROPPED = ("discriminator", *_FIRST)
_TARGET = TypeAdapter(Target).json_schema()

_NULL = {"type": "null"}  # the models' word for a key that is not there; a file cannot say it

_TARGET_REF = {"$ref": "#/definitions/target"}
_COMPUTED_REF = {"$ref": "#/definitions/computed"}
_FILLED_IN_REF = {"$ref": "#/definitions/filled_in"}

_NEEDED = ("allocation", "sparsity")  # where no N:M pattern says how many weights go

_VARIABLES: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "additionalProperties": {"type": ["number", "string", "boolean"]},
}
_EXTENDS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def recipe_schema() -> Schema:
    """The schema of a recipe file, as a draft-07 document without an `$id`."""
    made = Recipe.model_json_schema()
    parts = made.pop("$defs")
    parts[Prune.__name__]["allOf"] = [
        *_what_the_pattern_needs(),
        *_where_it_counts(Prune, "score", SCORES),
        *_where_it_counts(Prune, "allocation", ALLOCATIONS),
        {"if": _is("allocation", "sensitivity"), "then": {"required": ["table"]}},
    ]
    parts[Export.__name__]["allOf"] = [
        *_where_it_counts(Export, "format", FORMATS),
        {
            "if": {"properties": {"dynamic_size": {"const": True}}, "required": ["dynamic_size"]},
            "then": _without("image_size"),
        },
    ]
    parts[Repair.__name__]["allOf"] = [*_where_it_counts(Repair, "method", METHODS)]
    _settle_what_a_budget_is(parts)
    recipe = _written(made, parts)
    keys = recipe.pop("properties")
    of_files = {
        "extends": {"description": FILE_KEYS["extends"], **_EXTENDS},
        "variables": {"description": FILE_KEYS["variables"], **_VARIABLES},
    }
    first = {key: keys[key] for key in ("version", "description")}
    required = recipe.pop("required")
    return {
        "$schema": _DRAFT,
        **recipe,
        "title": "Recipe of compressor",
        "properties": {**first, **of_files, **keys},
        "if": {"required": ["extends"]},  # then what is missing may stand in the other file
        "else": {"required": required},
        "definitions": _definitions(parts),
    }


# Rules that the models check in code. What is made from variables may be any word, so it is held to none of them.


def _what_the_pattern_needs() -> Iterator[Schema]:
    """`unstructured` needs allocation and sparsity; N:M takes neither, nor what belongs to them."""
    unstructured = {"properties": {"pattern": {"const": "unstructured"}}}  # which holds without the key too
    n_of_m = {"properties": {"pattern": {"type": "string", "pattern": N_OF_M}}, "required": ["pattern"]}
    yield {"if": unstructured, "then": {"required": list(_NEEDED)}}
    yield {"if": n_of_m, "then": _without(*_NEEDED, *ALLOCATIONS)}


def _where_it_counts(part: type[Part], chooser: str, settings: Dependents) -> Iterator[Schema]:
    """Settings that only some choices of another key use: refused with its other choices."""
    field = part.model_fields[chooser]
    for owners in dict.fromkeys(tuple(owners) for _, *owners in settings.values()):
        others = [word for word in words_of(field.annotation) if word not in owners]
        rule: Schema = {"properties": {chooser: {"enum": others}}}  # which holds without the key too
        if field.default in owners:
            rule["required"] = [chooser]
        yield {
            "if": rule,
            "then": _without(*(key for key, (_, *theirs) in settings.items() if tuple(theirs) == owners)),
        }


def _settle_what_a_budget_is(parts: dict[str, Schema]) -> None:
    """It names one goal; and a sparsity for each target has none of its keys."""
    budget = parts[Budget.__name__]
    budget["anyOf"] = [{"required": ["ap_drop"]}, {"required": ["size"]}]
    budget["allOf"] = [{"if": {"required": ["size"]}, "then": _without("ap_drop", "images")}]
    union = parts[Prune.__name__]["properties"]["sparsity"]["anyOf"][0]["oneOf"]
    by_target = next(member for member in union if "additionalProperties" in member)
    by_target["propertyNames"] = {"not": {"enum": list(Budget.model_fields)}}


def _is(key: str, word: str) -> Schema:
    return {"properties": {key: {"const": word}}, "required": [key]}


def _without(*keys: str) -> Schema:
    return {"properties": dict.fromkeys(keys, False)}


def _definitions(parts: dict[str, Schema]) -> Schema:
    """What is said in more than one place."""
    words = {"enum": ["*", *ROLES, *MODULE_TYPES]}  # what some network has, offered for completion
    text, kernel = (_written(member, parts) for member in _TARGET["anyOf"])
    return {
        "target": {
            "description": "a role, a module type, `kernel: 3x3`, a glob on layer names, or re: and a pattern",
            "anyOf": [words, text, kernel],
        },
        "computed": {
            "description": "a number, or true or false, made from variables: ${sparsity / 2}",
            "type": "string",
            "pattern": r"^\$\{[^{}]*\}$",
        },
        "filled_in": {
            "description": "text with variables filled in: yolov5${size}.pt",
            "type": "string",
            "pattern": r"\$\{[^{}]*\}",
        },
    }


def _written(node: Schema, parts: dict[str, Schema]) -> Schema:
    """One node of pydantic's schema as a file may write it; sections stand where they are used."""
    if "$ref" in node:  # what stands beside it may be the default of a whole section, which no editor should insert
        section = _written(parts[node["$ref"].rpartition("/")[2]], parts)
        return {**section, "description": node.get("description", section["description"])}
    if node == _TARGET:
        return _TARGET_REF
    head = {key: node[key] for key in _FIRST if key in node and _worth_keeping(key, node)}
    body = {key: value for key, value in node.items() if key not in _DROPPED}
    if "properties" in body:
        return {**head, **_written_section(body, head, parts)}
    if isinstance(body.get("additionalProperties"), dict):
        body["additionalProperties"] = _written(body["additionalProperties"], parts)
    if "items" in body:
        body["items"] = _written(body["items"], parts)
    members = [member for member in body.pop("anyOf", body.pop("oneOf", ())) if member != _NULL]
    if len(members) > 1:
        return {**head, "anyOf": _written_members(members, parts)}
    return _written({**head, **members[0]}, parts) if members else _with_variables(head, body)


def _worth_keeping(key: str, node: Schema) -> bool:
    """Titles of sections only, and no default that means "none"."""
    if key == "title":
        return "properties" in node
    return key != "default" or node[key] is not None


def _written_section(body: Schema, head: Schema, parts: dict[str, Schema]) -> Schema:
    body["properties"] = {key: _written(value, parts) for key, value in body["properties"].items()}
    if "type" in body["properties"]:  # of a modifier: its name means what the modifier does
        body["properties"]["type"] = {"description": head["description"], **body["properties"]["type"]}
    return body


def _written_members(union: list[Schema], parts: dict[str, Schema]) -> list[Schema]:
    """The members of a union with those of unions within it, each once, and what is made from variables last."""
    members: list[Schema] = []
    for member in union:
        written = _written(member, parts)
        members += written["anyOf"] if set(written) == {"anyOf"} else [written]
    references = [each for each in (_COMPUTED_REF, _FILLED_IN_REF) if each in members]
    return [each for each in members if each not in references] + references


def _with_variables(head: Schema, body: Schema) -> Schema:
    """A single value, or `${...}` in its place; free text may hold that anyway."""
    kind = head.get("type")
    body = dict(sorted(body.items(), reverse=True))  # minimum before maximum
    if kind == "integer" and body.get("minimum", 0) == body.get("maximum"):
        body = {"const": body["minimum"]}
    if kind in ("integer", "number", "boolean"):
        reference = _COMPUTED_REF
    elif {"const", "enum", "pattern"} & set(body):
        reference = _FILLED_IN_REF
    else:
        return {**head, **body}
    value = {"type": kind, **body} if kind else body
    outer: Schema = {key: head[key] for key in ("description", "default") if key in head}
    return {**outer, "anyOf": [value, reference]}
