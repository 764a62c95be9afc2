"""`compressor completion`: what the Tab key offers, and the script that makes a shell ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_origin

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from compressor.cli.console import Console, console_options
from compressor.recipe.load import read_draft
from compressor.recipe.nodes import Node
from compressor.recipe.part import Part, is_section, models_in, of_type, words_of
from compressor.recipe.schema import Recipe
from compressor.recipe.shipped import shipped_recipes
from compressor.rules.catalogue import rules

_NAME = "compressor"
_VARIABLE = "_COMPRESSOR_COMPLETE"  # where click looks for the shell's question when it is run by that name
_RECIPES = (".yaml", ".yml")

Items = list[CompletionItem[str]]


@click.command(short_help="Print the script that completes commands, files and keys in a shell.")
@console_options
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, /, *, shell: str, console: Console) -> None:
    """Print the script that makes a shell complete commands, options, recipes, keys for --set and error codes.

    Save it where the shell looks for such scripts, and open a new shell.

    \b
    Example:
      compressor completion bash > ~/.local/share/bash-completion/completions/compressor
      compressor completion zsh > ~/.zfunc/_compressor   # ~/.zfunc in $fpath, before compinit
      compressor completion fish > ~/.config/fish/completions/compressor.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    console.result(kind(context.find_root().command, {}, _NAME, _VARIABLE).source().rstrip("\n"))


def complete_file(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Files of any kind; the shell knows them best."""
    return [CompletionItem(incomplete, type="file")]


def complete_recipe(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Recipe files, and the folders that may hold some."""
    folder, slash, start = incomplete.rpartition("/")
    try:
        names = sorted(p.name for p in Path(folder + slash or ".").expanduser().iterdir() if _is_recipe(p))
    except (OSError, RuntimeError):  # RuntimeError: a home folder that is not there
        names = []
    hidden = start.startswith(".")
    files = [name for name in names if name.startswith(start) and (hidden or not name.startswith("."))]
    return [CompletionItem(incomplete, type="dir"), *(CompletionItem(folder + slash + name) for name in files)]


def _is_recipe(path: Path) -> bool:
    return path.suffix in _RECIPES and path.is_file()


def complete_shipped(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Names of the recipes that come with compressor."""
    return [CompletionItem(each.stem) for each in shipped_recipes() if each.stem.startswith(incomplete)]


def complete_code(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Error codes, in upper case whatever was typed."""
    start = incomplete.upper()
    return [CompletionItem(rule.code, help=rule.title) for rule in rules() if rule.code.startswith(start)]


def complete_set(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Keys of the recipe named on the line, each with its equals sign; after that, the words the key takes."""
    path, equals, _ = incomplete.partition("=")
    settable = _settable(_recipe_named(context))
    if equals:
        known = next((key.values for key in settable if key.path == path), ())
        items = [CompletionItem(f"{path}={value}") for value in known]
    else:
        items = [CompletionItem(f"{key.path}=", help=key.description) for key in settable]
    return [item for item in items if item.value.startswith(incomplete)]


def _recipe_named(context: click.Context) -> Path | None:
    """The first argument; click leaves it aside where the option before the cursor still lacks its value."""
    given = [context.params.get("recipe"), *(context.params.get("recipes") or ()), *context.args]
    return next((Path(name) for name in given if name and Path(name).is_file()), None)


@dataclass(frozen=True)
class _Key:
    """A key that --set takes; `values` are its words, where only certain ones are allowed."""

    path: str
    values: tuple[str, ...] = ()
    description: str | None = None


def _settable(recipe: Path | None) -> list[_Key]:
    """Every key of the schema, for each of the recipe's modifiers, and the variables it defines."""
    draft = read_draft(recipe) if recipe else None
    keys: dict[str, _Key] = {}
    for key in _keys(Recipe, draft.root if draft else None, ""):
        before = keys.get(key.path, key)  # modifiers of several types share keys such as `type`
        keys[key.path] = _Key(key.path, tuple(dict.fromkeys(before.values + key.values)), before.description)
    return [*keys.values(), *(_Key(f"variables.{name}") for name in (draft.variables if draft else ()))]


def _keys(part: type[Part], written: Node | None, prefix: str) -> Iterator[_Key]:
    for name, field in part.model_fields.items():
        parts = models_in(field.annotation)
        node = written.subtree((name,)) if written else None
        if parts and get_origin(field.annotation) is tuple:
            entries: list[Node | None] = [*node.value] if node and isinstance(node.value, list) else []
            for index, entry in enumerate(entries or [None]):
                kind = entry.subtree(("type",)) if entry else None
                for each in of_type(parts, kind.value if kind else None):
                    yield from _keys(each, entry, f"{prefix}{name}.{index}.")
            continue
        if not is_section(field.annotation):
            yield _Key(prefix + name, tuple(words_of(field.annotation)), field.description)
        if parts:
            yield from _keys(parts[0], node, f"{prefix}{name}.")


_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            open) COMPREPLY+=("$value"); compopt -o nospace ;;
            dir) compopt -o filenames -o plusdirs ;;
            file) compopt -o filenames -o default ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete "$1")
}

complete -o nosort -o default -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class _Bash(BashComplete):
    """Bash takes a word apart at = and :, and wants only the last part back; click knows neither.

    Beside that, no space follows what is not finished (`modifiers.0.sparsity=`), and where nothing is offered bash
    completes file names, as it does for any other command.
    """

    name = "bash"
    source_template = _BASH
    _before = ""  # what stands in the word before the part that bash asks for

    def source(self) -> str:
        return ShellComplete.source(self)  # bash's own source() starts a shell, to warn of one from before 2016

    def get_completion_args(self) -> tuple[list[str], str]:
        cursor = int(os.environ["COMP_CWORD"])
        parts = split_arg_string(os.environ["COMP_WORDS"])[: cursor + 1]
        parts += [""] * (cursor + 1 - len(parts))
        words, last = _joined(parts), parts[-1]
        before = words[-1] if _is_break(last) else words[-1].removesuffix(last)
        self._before = before.partition("=")[2] if before.startswith("-") else before
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem[str]) -> str:
        kind = "open" if item.type == "plain" and item.value.endswith("=") else item.type
        return f"{kind},{item.value.removeprefix(self._before)}"


def _joined(parts: list[str]) -> list[str]:
    """Words as they were typed, out of the parts bash makes of them; an empty part is a new word."""
    words: list[str] = []
    for index, part in enumerate(parts):
        if words and part and (_is_break(part) or _is_break(parts[index - 1])):
            words[-1] += part
        else:
            words.append(part)
    return words


def _is_break(part: str) -> bool:
    return part != "" and set(part) <= set("=:")
