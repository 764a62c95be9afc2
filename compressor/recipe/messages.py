"""pydantic's findings as sentences for the person who wrote the recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from compressor.errors import Diagnostic, did_you_mean
from compressor.recipe.modifiers import MODIFIERS
from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.modifiers.prune import TAGS
from compressor.recipe.nodes import UNKNOWN, Location, Node, dotted, shortened, show
from compressor.recipe.part import NOTHING, Part, models_in, of_type, words_of
from compressor.recipe.schema import FILE_KEYS, Recipe
from compressor.recipe.sizes import SIZE, SIZE_HELP

_RANGES = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_TYPES = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
}
_MODIFIER = "{type: prune, allocation: lamp, sparsity: 0.3}"
_SPARSITY = "write a number such as 0.3, one per target: {backbone: 0.3, neck: 0.2}, or a budget: {size: 2.5MB}"
_TARGETS = ("targets", "ignore")
_OTHER_WORDS = {
    "amount": "sparsity",
    "ratio": "sparsity",
    "layers": "targets",
    "modules": "targets",
    "exclude": "ignore",
    "skip": "ignore",
    "criterion": "score",
    "lr": "learning_rate",
    "percdamp": "damping",
    "iterations": "steps",
    "samples": "images",
    "imgsz": "image_size",
}  # what other tools call a key
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_RANGE_HELP = {
    "ap_drop": "ap_drop is a fraction of AP: 0.005 is half a point",
    "damping": "damping is a share of the inputs' mean square, such as 0.03",
    "learning_rate": "learning_rate is a share of the root mean square of a layer's weights, such as 0.0005",
}
_FRACTION = re.compile(r"[0-9.]+ ?[-+*/] ?[0-9.]+")


def faults_of(error: ValidationError, root: Node) -> list[Diagnostic]:
    """One diagnostic per finding, at the place where the value was written."""
    told = [plain for finding in error.errors() for plain in _of_one_modifier(finding)]
    findings = [finding for finding in told if not _is_echo(finding, root)]
    implied = _implied(findings, root)
    return [_diagnostic(finding, root) for finding in findings if not _follows(finding, implied)]


def _of_one_modifier(finding: ErrorDetails) -> list[ErrorDetails]:
    """The findings as they would be if there were no other type of modifier.

    Of a modifier without a known type pydantic says nothing else; so it is checked as what it most likely is, unless
    the type is there and could not be read.
    """
    location = finding["loc"]
    if location[0:1] != ("modifiers",):
        return [finding]
    if not finding["type"].startswith("union_tag"):
        return [{**finding, "loc": (*location[:2], *location[3:])}]  # the third names the type
    modifier = finding["input"]
    if modifier.get("type") == UNKNOWN:
        return []
    try:
        _likely(modifier).model_validate(modifier)
    except ValidationError as error:
        return [_among_all({**inner, "loc": (*location, *inner["loc"])}) for inner in error.errors()]
    raise AssertionError("no modifier is right without its type")


def _likely(modifier: dict[str, Any]) -> type[Part]:
    """The type of modifier that most speaks for: a name like its own, then keys that it has."""
    near = _near(str(modifier.get("type")), MODIFIERS)

    def signs(word: str) -> tuple[bool, int]:
        return word == near or word in modifier, len(MODIFIERS[word].model_fields.keys() & modifier.keys())

    return MODIFIERS[max(MODIFIERS, key=signs)]


def _among_all(finding: ErrorDetails) -> ErrorDetails:
    """The finding; of a type that is none, with all there are rather than the one it was checked against."""
    if finding["type"] != "literal_error" or finding["loc"][2:] != ("type",):
        return finding
    *most, last = (f"'{word}'" for word in MODIFIERS)
    return {**finding, "ctx": {"expected": f"{', '.join(most)} or {last}"}}


def _is_echo(finding: ErrorDetails, root: Node) -> bool:
    """Whether the finding follows from a fault told already.

    A list counts as too short for pydantic when its items are at fault; other faults leave a value or a key unknown.
    """
    value = finding["input"]
    match finding["type"]:
        case "too_short" if len(value) > 0:
            return True
        case "missing" | "R102":
            around = root.subtree(_location(finding)[0][:-1])
            return around is not None and isinstance(around.value, dict) and UNKNOWN in around.value
        case "R115" if isinstance(value, dict):  # kernel: without a value
            return UNKNOWN in value.values()
        case _:
            return bool(value == UNKNOWN)


def _implied(findings: Sequence[ErrorDetails], root: Node) -> tuple[set[Location], set[Location]]:
    """Keys that are missing only because they are misspelt, and modifiers whose type, and so whose keys, is unknown."""
    misspelt: set[Location] = set()
    strange: set[Location] = set()
    for finding in findings:
        location, _ = _location(finding)
        if finding["type"] == "extra_forbidden":
            misspelt.add((*location[:-1], _meant(location, root) or ""))
            if location[-1] in MODIFIERS:  # - prune: {...}
                strange.add(location[:-1])
        elif finding["type"] == "literal_error" and location[-1] == "type" and not _near_choice(finding):
            strange.add(location[:-1])
    return misspelt, strange


def _follows(finding: ErrorDetails, implied: tuple[set[Location], set[Location]]) -> bool:
    misspelt, strange = implied
    location, _ = _location(finding)
    if finding["type"] in ("missing", "R102"):
        return location in misspelt or location[:-1] in strange
    if finding["type"] == "R114":
        return location[:-1] in strange
    is_type = location[-1:] in [(word,) for word in MODIFIERS]
    return finding["type"] == "extra_forbidden" and location[:-1] in strange and not is_type


def _diagnostic(finding: ErrorDetails, root: Node) -> Diagnostic:
    kind, context = finding["type"], finding.get("ctx", {})
    location, is_key = _location(finding)
    name = dotted(location) or "the recipe"
    place = root.find_key(location) if is_key else root.find(location)
    if finding["input"] is NOTHING:
        return place.diagnostic("R104", f"{name} has no value", "write one, or take the key out")
    if kind == "R102" and root.subtree(location):
        return place.diagnostic("R104", f"{name} has no value", "write one after it")
    if kind.startswith("R1"):  # a rule of the schema's own validators; the code is its type
        return place.diagnostic(kind, f"{name} {finding['msg']}", context.get("help"))
    if kind == "extra_forbidden":
        message = f"unknown key {shortened(str(location[-1]))!r} in {dotted(location[:-1]) or 'the recipe'}"
        return root.find_key(location).diagnostic("R101", message, _known_keys(location, root))
    if kind == "missing":
        return place.diagnostic("R102", f"{name} is missing", _missing_help(location))
    code, fault, help_text = _of_value(finding, location, root)
    return place.diagnostic(code, f"{name} {fault}", help_text)


def _of_value(finding: ErrorDetails, location: Location, root: Node) -> tuple[str, str, str | None]:
    """Code, fault and help where a value is not what its key asks for."""
    kind, context, value = finding["type"], finding.get("ctx", {}), finding["input"]
    node = root.subtree(location)
    written = node.written if node else None
    given = show(value) + (f" from {shortened(written.strip())}" if written else "")
    if kind in _RANGES:
        word, key = _RANGES[kind]
        return "R103", f"must be {word} {context[key]:.12g}, got {given}", _range_help(location, value)
    if kind == "finite_number":
        return "R103", f"must be a finite number, got {given}", _range_help(location, value)
    if kind in ("too_short", "string_too_short"):
        return "R103", "must not be empty", _empty_help(location)
    if kind == "too_long":
        return "R103", f"must have at most {context['max_length']} entries, got {len(value)}", "write fewer"
    if kind == "literal_error":
        help_text = _near_choice(finding) or (_word_of_a_modifier(value) if location[-1] == "type" else None)
        return "R105", f"must be {context['expected']}, got {given}", help_text
    if kind in _TYPES:
        in_text = written is not None and isinstance(value, str)
        help_text = "write ${...} alone, without text around it" if in_text else _type_help(kind, location, value, root)
        return "R104", f"must be {_TYPES[kind]}, got {given}", help_text
    return "R104", f"is refused: {finding['msg']}", None


def _location(finding: ErrorDetails) -> tuple[Location, bool]:
    """Where in the recipe, without pydantic's names of union members; and whether a mapping's key is meant."""
    found = finding["loc"]
    location = tuple(part for part in found if part not in TAGS)
    is_key = len(found) > 2 and found[-1] == "[key]" and found[-3] in TAGS
    return (location[:-1], True) if is_key else (location, False)


def _missing_help(location: Location) -> str:
    match location[-1]:
        case "version":
            return "write version: 1"
        case "type":
            return f"add {' or '.join(f'type: {word}' for word in MODIFIERS)}"
        case key:
            return f"add the key {key!r}"


def _near_choice(finding: ErrorDetails) -> str | None:
    choices = finding.get("ctx", {})["expected"].replace(" or ", ", ").split(", ")
    words = [word.strip("'") for word in choices]
    if not isinstance(finding["input"], str):
        return None
    written = finding["input"].lower()
    part_of = (word for word in words if written in word.split("_"))
    return did_you_mean(written, words) or next((f"did you mean {word!r}?" for word in part_of), None)


def _word_of_a_modifier(word: Any) -> str | None:
    """What a type that is none may be instead: a word that one of the other keys takes."""
    for kind, part in MODIFIERS.items():
        for key, field in part.model_fields.items():
            if word in words_of(field.annotation):
                return f"write it after the type: {{type: {kind}, {key}: {word}}}"
    return None


def _is_sparsity(location: Location) -> bool:
    """Whether a fraction of weights is meant: a sparsity, or that of a target."""
    return "sparsity" in location[-2:] and location[-1] not in Budget.model_fields


def _range_help(location: Location, value: Any) -> str | None:
    if location == ("version",):
        return "write version: 1"
    per_cent = isinstance(value, int | float) and 1 < value < 100
    if location[-1] == "ap_drop" and per_cent:
        return f"{_RANGE_HELP['ap_drop']}, {value / 100:g} is {value:g} points"
    if not _is_sparsity(location):
        return _RANGE_HELP.get(str(location[-1]))
    if per_cent:
        return f"sparsity is a fraction; to zero {value:g} % of the weights write {value / 100:g}"
    return "sparsity is a fraction above 0 and below 1; to zero half of the weights write 0.5"


def _empty_help(location: Location) -> str | None:
    match location[-1]:
        case "modifiers":
            return f"add a modifier, such as {_MODIFIER}; or take the key out, to evaluate and pack the model as it is"
        case "targets":
            return 'write ["*"] for every convolution'
        case "sparsity":
            return _SPARSITY
        case _:
            return "write a name, or take the key out"


def _type_help(kind: str, location: Location, value: Any, root: Node) -> str | None:
    """How to write a value of the right type, where that can be told."""
    key = location[-1] if isinstance(location[-1], str) else location[-2]
    match kind:
        case _ if location == ("version",):
            return "write version: 1"
        case _ if key == "modifiers":
            return f"start each modifier with a dash: - {_MODIFIER}"
        case "tuple_type" if isinstance(value, str):
            return f'write it in brackets: ["{shortened(value)}"]'
        case "tuple_type":
            return "write a list in brackets, or with a dash before each entry"
        case "string_type" if key == "size":
            return SIZE_HELP
        case "string_type" if key in _TARGETS:
            return "write a role such as backbone, a type such as C3, kernel: 3x3, or the name of a layer"
        case "string_type":
            single = isinstance(value, bool | int | float)
            return f'put it in quotes: "{show(value)}"' if single else "write a single text, or take the key out"
        case "bool_type" if str(value).lower() in ("true", "false"):
            return f"write it without quotes: {str(value).lower()}"
        case "float_type" | "int_type" | "int_from_float":
            return _number_help(location, value)
        case "model_type" if key == "calibration" and type(value) in (int, str):
            return f"write calibration: {{{'data' if isinstance(value, str) else 'images'}: {shortened(str(value))}}}"
        case "model_type" | "model_attributes_type":
            return f"write its keys below it: {', '.join(_keys_at(location, root))}"
        case _:
            return None


def _number_help(location: Location, value: Any) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    if _NUMBER.fullmatch(text):
        return f"write it without quotes: {text}"
    if _NUMBER.fullmatch(text.replace(",", ".")):
        return f"write it with a point: {text.replace(',', '.')}"
    if _NUMBER.fullmatch(text.rstrip("% ")) and text.endswith("%"):
        return f"write the fraction: {float(text.rstrip('% ')) / 100:g}"
    if _FRACTION.fullmatch(text):
        return f"write arithmetic as ${{{text}}}"
    if location[-1] == "sparsity":
        return f"write a budget: {{size: {text}}}" if re.fullmatch(SIZE, text) else _SPARSITY
    if _is_sparsity(location):
        return "write a number such as 0.3"
    if location[-1] in _RANGE_HELP:
        return _RANGE_HELP[str(location[-1])]
    if isinstance(value, float) and value.is_integer():
        return f"write {value:.0f}"
    return None


def _known_keys(location: Location, root: Node) -> str:
    """What an unknown key may have been meant to be."""
    key = str(location[-1])
    if key in MODIFIERS:
        return f"write the type as a value beside the other keys: type: {key}"
    meant = _meant(location, root)
    if meant:
        return f"did you mean {meant!r}?"
    homes = _homes(location, root)
    if homes:
        return f"it is a key of {' or '.join(homes)}"
    keys = ", ".join(_keys_at(location[:-1], root))
    if "sparsity" in location[:-1]:
        return f"known keys of a budget: {keys}; which layers it is for, `targets` and `ignore` say"
    return f"known keys: {keys}"


def _meant(location: Location, root: Node) -> str | None:
    """The key of the same mapping that an unknown one is a slip of."""
    key, known = str(location[-1]), _keys_at(location[:-1], root)
    if _OTHER_WORDS.get(key) in known:
        return _OTHER_WORDS[key]
    return None if _homes(location, root) else _near(key.lower(), known)


def _near(word: str, known: Iterable[str]) -> str | None:
    help_text = did_you_mean(word, known)
    return next((each for each in known if help_text == f"did you mean {each!r}?"), None)


def _homes(location: Location, root: Node) -> list[str]:
    """Where in a recipe an unknown key belongs, the nearest places only."""
    key = str(location[-1])
    beside = _sections_with(key, _parts_at(location[:-1], root))
    if key in Recipe.model_fields or key in FILE_KEYS:
        return [*beside, "the recipe itself, without indentation"]
    if beside:
        return beside
    types = [word for word, part in MODIFIERS.items() if key in part.model_fields]
    homes = ["a modifier" if len(types) == len(MODIFIERS) else f"a modifier of type {' or '.join(types)}"][: len(types)]
    within = _sections_with(key, MODIFIERS.values())
    return [*homes, *_sections_with(key, [Recipe]), *(f"a modifier's {name}" for name in within)]


def _sections_with(key: str, parts: Iterable[type[Part]]) -> list[str]:
    """The keys of some parts below which a key may stand."""
    fields = [field for part in parts for field in part.model_fields.items() if field[0] != "modifiers"]
    found = (name for name, field in fields if any(key in model.model_fields for model in models_in(field.annotation)))
    return list(dict.fromkeys(found))


def _keys_at(location: Location, root: Node) -> list[str]:
    keys = dict.fromkeys(key for part in _parts_at(location, root) for key in part.model_fields)
    return [*keys, *(FILE_KEYS if not location else [])]


def _parts_at(location: Location, root: Node) -> list[type[Part]]:
    """The parts of the schema that `location` may lead to: several where a modifier's type is that of none."""
    parts: list[type[Part]] = [Recipe]
    for end, step in enumerate(map(str, location), start=1):
        fields = [part.model_fields[step] for part in parts if step in part.model_fields]
        parts = [model for field in fields for model in models_in(field.annotation)] or parts
        kind = root.subtree((*location[:end], "type"))
        parts = of_type(parts, kind.value if kind else None)
    return parts
