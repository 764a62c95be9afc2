"""Write the generated pages: the references in docs/reference/, the cookbook, and the JSON Schema of recipes.

    python scripts/reference.py [--check]

Everything in them comes from the source: the recipe's models, the commands themselves, the rules, the shipped recipes.
With --check nothing is written; the exit code is 1 where a page is not current. The tests check the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import sys
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from compressor.cli.main import cli
from compressor.recipe.exports import FORMATS
from compressor.recipe.gates import GATE
from compressor.recipe.json_schema import recipe_schema
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers.budget import AP_IMAGES
from compressor.recipe.modifiers.prune import SCORES
from compressor.recipe.modifiers.repair import METHODS
from compressor.recipe.sizes import SIZE
from compressor.recipe.targets import KERNEL, N_OF_M
from compressor.results import changes
from compressor.results import evaluation as judgement
from compressor.results.run import RUN_SCHEMA, RunRecord
from compressor.rules.catalogue import Rule, rules

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"

_NOTE = "<!-- written by scripts/reference.py; `make reference` brings it up to date -->"
_FAMILIES = {
    "R": "R1xx: the text of a recipe",
    "P": "P2xx: a recipe and a model that do not fit",
    "W": "W3xx: weights",
    "D": "D4xx: data sets",
    "A": "A5xx: artifacts",
    "O": "O6xx: output",
    "N": "N7xx: downloads",
    "E": "E8xx: the run itself",
    "U": "U9xx: options and earlier runs",
}  # in the order of their numbers
_TEXTS = {
    N_OF_M: '`"N:M"` with N below M',
    KERNEL: "height x width, such as `3x3`",
    f"^{SIZE}$": "a size such as `2.5MB` or `60%`",
    GATE: "gates such as `AP < -2.5`, `kept.AP50 < 95`, `after.AP < 45`, `worst_class < -10` or `size > 60`",
}  # what the patterns of the schema look like
_LATE = {
    "images": AP_IMAGES,
    **{key: default for key, (default, *_) in (SCORES | METHODS | FORMATS).items()},
}  # defaults of
# keys that count only beside some choice of another one; elsewhere they have none


def main() -> None:
    """Write every page that is not current, or with --check name it and exit 1."""
    parser = argparse.ArgumentParser(description="Write the generated pages of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is not current")
    check = parser.parse_args().check
    stale = {path: text for path, text in pages().items() if not is_current(path, text)}
    for path, text in stale.items():
        print(f"{path.relative_to(ROOT)} {'is not current' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    sys.exit(1 if check and stale else 0)


def pages() -> dict[Path, str]:
    """Every generated file with what it should hold."""
    schema = recipe_schema()
    docs = ROOT / "docs"
    return {
        docs / "reference" / "recipe.md": recipe_page(schema),
        docs / "reference" / "commands.md": commands_page(cli),
        docs / "reference" / "run.md": run_page(),
        docs / "reference" / "errors.md": errors_page(rules()),
        docs / "cookbook.md": cookbook_page(sorted(RECIPES.glob("*.yaml"))),
        RECIPES / "recipe.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }


def is_current(path: Path, text: str) -> bool:
    """Whether the file holds the text, with any line ends."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _page(title: str, *blocks: str) -> str:
    return "\n\n".join((_NOTE, f"# {title}", *blocks)) + "\n"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table without padding, so that one changed row is one changed line."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (headers, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join((lines[0], f"|{':--|' * len(headers)}", *lines[1:]))


def recipe_page(schema: dict[str, Any]) -> str:
    """Every key of every section: what it takes, its default and its meaning."""
    blocks = [
        "Every key a recipe may hold. The [guide](../recipe.md) shows how they work together; `compressor schema` "
        "prints the same for editors. Any number, truth value or word may also be written as `${...}`, made from "
        "`variables`.",
        _keys(schema, "", required=schema["else"]["required"]),
        "A recipe that extends another may leave out what that one says.",
    ]
    for name, node in schema["properties"].items():
        if "properties" in node:
            blocks += [f"## {name}", node["description"], _keys(node, f"{name}.")]
        elif name == "modifiers":
            blocks += [f"## {name}", f"{_sentence(node['description'])} Each is one of these, by its `type`."]
            modifiers = _members(node["items"])
            blocks += [block for modifier in modifiers for block in _modifier(modifier)]
            blocks += [block for modifier in modifiers[-1:] for block in _calibration(modifier)]
            blocks += [block for modifier in modifiers[:1] for block in _budget(modifier)]
        elif name == "exports":
            export = node["items"]
            nms = export["properties"]["nms"]
            blocks += [f"## {name}", f"{_sentence(node['description'])} {export['description']}", _keys(export, "")]
            blocks += ["### nms", _sentence(nms["description"]), _keys(nms, "nms.")]
    target = schema["definitions"]["target"]
    words = ", ".join(f"`{word}`" for word in target["anyOf"][0]["enum"])
    blocks += ["## Targets", f"{_sentence(target['description'])} Words that mean something: {words}."]
    return _page("Recipe reference", *blocks)


def _modifier(modifier: dict[str, Any]) -> Iterator[str]:
    yield f"### {_members(modifier['properties']['type'])[0]['const']}"
    yield modifier["description"]
    yield _keys(modifier, "")


def _calibration(repair: dict[str, Any]) -> Iterator[str]:
    """What the calibration of every modifier holds."""
    calibration = repair["properties"]["calibration"]
    yield "### calibration"
    yield f"{calibration['description']} Without `data` they are those of the recipe's data set."
    yield _keys(calibration, "calibration.")


def _budget(prune: dict[str, Any]) -> Iterator[str]:
    """What may stand in the place of a sparsity."""
    budget = next(member for member in _members(prune["properties"]["sparsity"]) if "properties" in member)
    yield "### budget"
    yield f"In the place of a `sparsity`. {budget['description']}"
    yield _keys(budget, "sparsity.")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _keys(section: dict[str, Any], prefix: str, required: list[str] | None = None) -> str:
    always = section.get("required", []) if required is None else required
    needed = {**_needed(section), **dict.fromkeys(always, "required")}
    rows = []
    for key, node in section["properties"].items():
        default = needed.get(key) or _default(key, node)
        rows.append((f"`{prefix}{key}`", _key_values(key, node), default, _shown(node["description"])))
    return _table(("key", "values", "default", "meaning"), rows)


def _needed(section: dict[str, Any]) -> dict[str, str]:
    """Keys that some recipes cannot do without, and which."""
    rules = [rule for rule in section.get("allOf", []) if "required" in rule["then"]]
    words = {
        key: "required but for N:M" if each.get("const") == "unstructured" else f"required with `{each['const']}`"
        for rule in rules
        for each in rule["if"]["properties"].values()
        for key in rule["then"]["required"]
    }
    either = [key for member in section.get("anyOf", []) for key in member["required"]]
    return words | dict.fromkeys(either, "one of the two")


def _shown(text: str) -> str:
    """Expressions as code: a page may take dollar signs for mathematics."""
    return re.sub(r"\$\{[^}]*\}", r"`\g<0>`", text)


def _key_values(key: str, node: dict[str, Any]) -> str:
    if "properties" in node:
        return f"[section](#{key})"
    return f"[list](#{key})" if "properties" in node.get("items", {}) or key == "modifiers" else _values(node)


def _default(key: str, node: dict[str, Any]) -> str:
    if "properties" in node:
        return "none" if _LATE.get(key, key) is None else "its keys'"
    default = node.get("default", _LATE.get(key))
    if default in (None, "", []):
        return "none"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _values(node: dict[str, Any]) -> str:
    """What a key takes, in words; that it may be computed is said once for all."""
    return "; or ".join(_value(member) for member in _members(node))


def _members(node: dict[str, Any]) -> list[dict[str, Any]]:
    computed = ({"$ref": "#/definitions/computed"}, {"$ref": "#/definitions/filled_in"})
    return [member for member in node.get("anyOf", [node]) if member not in computed]


def _value(node: dict[str, Any]) -> str:
    match node:
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"pattern": pattern}:
            return _TEXTS.get(pattern, f"text like `{pattern}`")
        case {"$ref": _}:
            return "[targets](#targets)"
        case {"type": "array", "items": items}:
            return f"list of {_values(items)}"
        case {"type": "object", "properties": _, "title": title}:
            return f"[{title.lower()}](#{title.lower()})"
        case {"type": "object", "additionalProperties": {"anyOf": _} as values}:
            return f"by [target](#targets): {_values(values)}"
        case {"type": "object"}:
            return "mapping of names to values"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "integer" | "number"}:
            return _range(node)
        case _:
            return "text"


def _range(node: dict[str, Any]) -> str:
    kind = "whole number" if node["type"] == "integer" else "number"
    match node:
        case {"exclusiveMinimum": low, "exclusiveMaximum": high}:
            return f"{kind} above {low}, below {high}"
        case {"exclusiveMinimum": low, "maximum": high}:
            return f"{kind} above {low}, up to {high}"
        case {"minimum": low, "exclusiveMaximum": high} if node["type"] == "integer":
            return f"{kind}, {low} to {high - 1}"
        case {"minimum": low, "maximum": high}:
            return f"{kind}, {low} to {high}"
        case {"minimum": low}:
            return f"{kind}, {low} or more"
        case _:
            raise ValueError(f"no words for the range of {node}")


def run_page() -> str:
    """Every key of run.json, by the records that it is made of."""
    blocks = [
        f"Every key of run.json, whose `schema` is `{RUN_SCHEMA}`. The whole document is a [run](#runrecord). A figure "
        "that is undefined is `null`; times are in milliseconds or seconds as their names say, sizes in bytes, shares "
        "and sparsities fractions from 0 to 1. Later versions may add keys; a change of what is here changes the "
        "schema's number, and earlier ones are still read: [versions](../versions.md). "
        "`compressor schema --of run` prints it as JSON Schema.",
    ]
    for record in _records(RunRecord):
        told = inspect.getdoc(record) or ""
        text, _, attributes = told.partition("Attributes:")
        meanings = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, flags=re.MULTILINE))
        rows = []
        for each in dataclasses.fields(record):
            meaning = re.sub(r"\bNone\b", "`null`", " ".join(meanings.get(each.name, "").split()))
            rows.append((f"`{each.name}`", _type_text(str(each.type)), f"{meaning[:1].upper()}{meaning[1:]}"))
        blocks += [f"## {record.__name__}", " ".join(text.split()), _table(("key", "type", "meaning"), rows)]
    return _page("run.json", *blocks)


def _records(record: type) -> list[type]:
    """A record and those that it is made of, each once, in the order in which they are named."""
    found = [record]
    for each in found:
        for hint in typing.get_type_hints(each).values():
            found += [inner for inner in _records_in(hint) if inner not in found]
    return found


def _records_in(hint: Any) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [record for inner in typing.get_args(hint) for record in _records_in(inner)]


def _type_text(annotation: str) -> str:
    """An annotation in the words of JSON."""
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "`true` or `false`", "None": "`null`"}
    text = re.sub(r"Annotated\[(\w+), .*\]$", r"\1", annotation)
    if found := re.fullmatch(r"tuple\[(.+), \.\.\.\](.*)", text):
        return f"list of: {_type_text(found[1])}{found[2].replace('|', 'or')}"
    if text.startswith("dict"):
        return "mapping" + (" or `null`" if text.endswith("None") else "")
    parts = [part.strip() for part in text.split("|")]
    return " or ".join(words.get(part) or _choices(part) or _record_links(part) for part in parts)


def _record_links(name: str) -> str:
    """Links to the tables of a record, or of each record of a choice between several that has a name."""
    several = _records_in(getattr(changes, name, None))
    return " or ".join(f"[{each}](#{each.lower()})" for each in [record.__name__ for record in several] or [name])


def _choices(name: str) -> str:
    """The words of a choice, written out or by its name; empty where it is none."""
    if words := re.fullmatch(r"Literal\[(.+)\]", name):
        return " or ".join(f"`{word.strip()[1:-1]}`" for word in words[1].split(","))
    choice = getattr(judgement, name, None)
    if typing.get_origin(choice) is not typing.Literal:
        return ""
    return " or ".join(f"`{word}`" for word in typing.get_args(choice))


EXIT_CODES = (
    ("0", "done"),
    ("1", "a gate failed (of a recipe, a sweep or a `diff`), or `verify` found a difference"),
    ("2", "the input is at fault: recipe, weights, data, output folder, usage"),
    ("3", "the run failed"),
    ("70", "compressor itself is at fault (E899)"),
    ("130", "interrupted by Ctrl-C"),
    ("141", "the reader of the output went away"),
    ("143", "ended by SIGTERM, which is heeded as Ctrl-C is"),
)


def commands_page(group: click.Group) -> str:
    """Every command: what it does, an example, its arguments and options."""
    blocks = [
        "Results go to stdout, progress and errors to stderr. Exit codes:",
        _table(("code", "meaning"), EXIT_CODES),
        *_command(group, click.Context(group, info_name="compressor", **group.context_settings)),
    ]
    return _page("Command reference", *blocks)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """One command, then those below it."""
    yield f"## {context.command_path}"
    yield from _help(command)
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    options = [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]
    rows = [(_names(each), _option_default(each, context), each.help or "") for each in options]
    yield _table(("option", "default", "meaning"), rows)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            if not below.hidden:
                yield from _command(below, click.Context(below, info_name=name, parent=context))


def _help(command: click.Command) -> Iterator[str]:
    r"""The paragraphs of the help text; what stands below a \b is an example and keeps its lines."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b"):
            yield " ".join(paragraph.split())
            continue
        label, _, lines = paragraph.removeprefix("\b").strip("\n").partition("\n")
        yield f"{label}\n\n```text\n{textwrap.dedent(lines)}\n```"


def _names(option: click.Option) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return f"`{names}`"
    if isinstance(option.type, click.Choice):
        return f"`{names} {'|'.join(map(str, option.type.choices))}`"
    return f"`{names} {option.metavar or option.type.name.upper()}`"


def _option_default(option: click.Option, context: click.Context) -> str:
    if option.required:
        return "required"
    default = None if option.is_flag else option.get_default(context)
    return f"`{default}`" if isinstance(default, str | int | float) else ""


def errors_page(known: tuple[Rule, ...]) -> str:
    """Every rule, by family."""
    blocks = [
        "Every fault is told with its code, its place and how to mend it; `compressor explain CODE` shows what stands "
        "here. Codes stay as they are from release to release."
    ]
    letters = [*_FAMILIES, *sorted({rule.code[0] for rule in known} - set(_FAMILIES))]
    for letter in letters:
        blocks.append(f"## {_FAMILIES.get(letter, letter)}")
        for rule in known:
            if rule.code.startswith(letter):
                blocks += _rule(rule)
    return _page("Error reference", *blocks)


def _rule(rule: Rule) -> Iterator[str]:
    yield f"### {rule.code} {rule.title}"
    yield rule.text
    language = "yaml" if rule.kind in ("recipe", "dataset") else "text"
    for label, example in (("Wrong", rule.wrong), ("Right", rule.right)):
        if example is not None:
            yield f"{label}:\n\n```{language}\n{example.rstrip()}\n```"


def cookbook_page(files: list[Path]) -> str:
    """The shipped recipes with their purpose, those for any checkpoint first."""
    shown = [(path, load_recipe(path).recipe) for path in files]
    open_ones = [(path, recipe.description) for path, recipe in shown if recipe.model.weights is None]
    named = [(path, recipe.description) for path, recipe in shown if recipe.model.weights is not None]
    return _page(
        "Cookbook",
        "The recipes that come with compressor, in `recipes/`. Each fits every stock YOLOv5, from n to x, of both "
        "generations and with any classes, and each is a place to start from: copy it, or extend it and say only "
        "what differs. The [guide](recipe.md) explains the language.",
        "## For any checkpoint",
        "```text\ncompressor plan  recipes/yolov5_lamp50.yaml --weights best.pt\n"
        "compressor apply recipes/yolov5_lamp50.yaml --weights best.pt --data mine.yaml\n```",
        _recipes(open_ones),
        "## With weights of their own",
        "```text\ncompressor apply recipes/demo.yaml\n```",
        _recipes(named),
    )


def _recipes(entries: list[tuple[Path, str]]) -> str:
    rows = [(f"[`{path.stem}`](../recipes/{path.name})", description) for path, description in entries]
    return _table(("recipe", "what it does"), rows)


if __name__ == "__main__":
    main()
