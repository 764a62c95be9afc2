"""A recipe file, what it extends, and the command line's overrides become one checked recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from compressor.errors import Diagnostic, RecipeError
from compressor.files.reading import lies_below
from compressor.recipe.files import Files
from compressor.recipe.messages import faults_of
from compressor.recipe.nodes import Node, Place
from compressor.recipe.overrides import Override, apply_override
from compressor.recipe.part import Part
from compressor.recipe.schema import Recipe
from compressor.recipe.shipped import found
from compressor.recipe.variables import fill_in, variable_names

PartT = TypeVar("PartT", bound=Part)

_UNREAD = ("R100", "R108", "R109", "R113")  # a file, or a part of one, could not be read


@dataclass(frozen=True)
class Written:
    """Values that know where they were written.

    Attributes:
        root: all of them, after `extends`, overrides and variables.
    """

    root: Node

    def place(self, *location: str | int) -> Place:
        """Where the value at `location` was written, or the nearest value around it."""
        return self.root.find(location)

    def key_place(self, *location: str | int) -> Place:
        """Where the key that `location` ends in was written."""
        return self.root.find_key(location)


@dataclass(frozen=True)
class RecipeFile(Written):
    """A checked recipe that still knows where each value was written.

    Attributes:
        recipe: the resolved recipe.
        path: the file it was read from.
    """

    recipe: Recipe
    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending; names the run folder."""
        return self.path.stem

    def folder(self, *location: str | int) -> Path:
        """From which a file counts that is named at `location`: of the recipe in which the name is written."""
        return (self.path if self.on_command_line(*location) else Path(self.place(*location).path)).parent

    def on_command_line(self, *location: str | int) -> bool:
        """Whether the value at `location` was written on the command line, and in no recipe."""
        written = self.place(*location).path
        return written.startswith("--") and not Path(written).is_file()


@dataclass(frozen=True)
class Draft(Written):
    """A recipe as it was written, right or wrong.

    Attributes:
        variables: names of those it defines, its bases' first; filled in, they are no longer part of `root`.
        recipe: the resolved recipe; None where something is at fault.
        faults: everything found (R1xx), in file order.
    """

    variables: tuple[str, ...]
    recipe: Recipe | None
    faults: tuple[Diagnostic, ...]


def load_recipe(path: Path, overrides: tuple[Override, ...] = ()) -> RecipeFile:
    """Read, merge and check a recipe.

    Args:
        path: the recipe's YAML file, or the name of a shipped recipe where no such file is there.
        overrides: what the command line says instead, in order; the last wins.

    Raises:
        RecipeError: every fault found (R1xx), in file order.
    """
    path = found(path)
    draft = _draft(path, overrides)
    if draft.recipe is None:
        raise RecipeError(*draft.faults)
    return RecipeFile(draft.root, draft.recipe, path)


def read_draft(path: Path, overrides: tuple[Override, ...] = ()) -> Draft:
    """As `load_recipe`, for whoever wants to see what a faulty recipe holds."""
    return _draft(found(path), overrides)


def _draft(path: Path, overrides: tuple[Override, ...]) -> Draft:
    faults: list[Diagnostic] = []
    root = Files(faults).merged(path)
    variables: tuple[str, ...] = ()
    if root.value is not None:
        for override in overrides:
            root = apply_override(root, override, faults)
        variables = variable_names(root)
        own = frozenset((path.as_posix(), *(override.flag for override in overrides)))
        root = fill_in(root, own, faults)
    incomplete = any(fault.code in _UNREAD for fault in faults)
    recipe = None if root.value is None else _check(root, faults, incomplete=incomplete)
    each_once = dict.fromkeys(in_file_order(faults))  # of a base on two ways
    shown = tuple(_told(fault, path) for fault in each_once)
    return Draft(root, variables, None if shown else recipe, shown)


def _told(fault: Diagnostic, recipe: Path) -> Diagnostic:
    """A fault without what a file says that lies outside the recipe's folder: a stranger's recipe may name any."""
    place = Path(fault.path or "")
    if fault.code == "R109" or place == recipe or not place.is_file() or lies_below(place, recipe.parent):
        return fault
    message = "the recipe extends a file with a fault, whose text is not shown as it lies in another folder"
    return Diagnostic(fault.code, message, fault.path, fault.line, fault.column, f"compressor check {fault.path}")


def check_part(part: type[PartT], values: dict[str, Any]) -> PartT:
    """One section of a recipe from command-line options named like its keys.

    Raises:
        RecipeError: a value is out of range; the option is named as the place.
    """
    nodes = {key: Node(value, Place(f"--{key.replace('_', '-')}")) for key, value in values.items()}
    root = Node(nodes, Place("the command line"))
    try:
        return part.model_validate(values)
    except ValidationError as error:
        raise RecipeError(*faults_of(error, root)) from error


def _check(root: Node, faults: list[Diagnostic], *, incomplete: bool) -> Recipe | None:
    """The recipe, or None and its faults; what an `incomplete` recipe lacks may stand in what could not be read."""
    try:
        return Recipe.model_validate(root.plain())
    except ValidationError as error:
        faults += [fault for fault in faults_of(error, root) if not (incomplete and fault.code == "R102")]
        return None


def in_file_order(faults: list[Diagnostic]) -> list[Diagnostic]:
    """Faults by file, line and column; files in the order in which they are first named."""
    files = list(dict.fromkeys(fault.path for fault in faults))
    return sorted(faults, key=lambda fault: (files.index(fault.path), fault.line or 0, fault.column or 0))
