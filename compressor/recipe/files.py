"""A recipe file and the files it extends, read and merged."""

from __future__ import annotations

import stat
from difflib import get_close_matches
from pathlib import Path

from compressor.errors import Diagnostic
from compressor.files.reading import regular_size
from compressor.recipe.nodes import UNKNOWN, Lines, Node, Place, parse, shortened, show
from compressor.recipe.scalars import NO_LETTER
from compressor.recipe.shipped import found, shipped_recipes

_RENAME = "rename the file, or use a UTF-8 locale, such as by LC_ALL=C.UTF-8"
_LARGEST = 1_000_000  # bytes of a recipe file
_LONGEST_CHAIN = 20  # files of which each extends the next
_MOST_FILES = 100  # in all, each as often as it is extended


class Files:
    """Reads a recipe file and what it extends; faults are appended (R100, R104, R106 to R109, R113)."""

    def __init__(self, faults: list[Diagnostic]) -> None:
        self.faults = faults
        self.count = 0

    def merged(self, path: Path, opened: tuple[Path, ...] = ()) -> Node:
        """One file merged over the files it extends; a node without a value where it cannot be read.

        Args:
            path: the file.
            opened: the files that lead to it, outermost first.
        """
        self.count += 1
        start = Place(path.as_posix(), 1, 1)
        before = len(self.faults)
        text = read_text(path, self.faults)
        node = Node(None, start) if text is None else parse(text, path.as_posix(), self.faults)
        if isinstance(node.value, dict):
            return self._extended(node, path, (*opened, path))
        if len(self.faults) == before:
            help_text = "start with version: 1 and modifiers:"
            message = f"a recipe must be a mapping of keys to values, got {show(node.plain())}"
            nothing = start.diagnostic("R113", "the recipe is empty", help_text)
            self.faults.append(nothing if node.value is None else node.place.diagnostic("R104", message, help_text))
        return Node(None, start)

    def _extended(self, node: Node, path: Path, opened: tuple[Path, ...]) -> Node:
        """`node` without its `extends` key, merged over what that key names."""
        assert isinstance(node.value, dict)
        extends = node.value.get("extends", Node(UNKNOWN, node.place))
        own = Node({key: value for key, value in node.value.items() if key != "extends"}, node.place, node.keys)
        entries = extends.value if isinstance(extends.value, list) else [extends]
        if not entries:
            self.faults.append(extends.place.diagnostic("R109", "extends names no recipe", "take the key out"))
        merged: Node | None = None
        for position, entry in enumerate(entries):
            if entry.value == UNKNOWN:  # not there, or its fault is told
                continue
            twice = any(entry.plain() == other.plain() for other in entries[:position])
            refusal = _named_twice(entry) if twice else self._refusal(entry, path, opened)
            if refusal:
                self.faults.append(entry.place.diagnostic("R109", *refusal))
                continue
            name = str(entry.value)
            base = self.merged(found(path.parent / name, name), opened)
            merged = base if merged is None else merge(merged, base)
        return own if merged is None else merge(merged, own)

    def _refusal(self, entry: Node, path: Path, opened: tuple[Path, ...]) -> tuple[str, str | None] | None:
        """Why one entry of `extends` cannot be read, and how to mend it; None where it can."""
        name = entry.value
        if not isinstance(name, str) or not name.strip():
            message = f"extends must name a recipe file, or a list of them, got {show(entry.plain())}"
            return message, "write extends: base.yaml"
        shown = f"extends names {shortened(name)!r}"
        if "${" in name:
            return f"{shown}, but files are read before variables are filled in", "write the name of the file"
        target = found(path.parent / name, name)
        try:
            kind = target.stat().st_mode
            circle = any(target.samefile(other) for other in opened)
        except FileNotFoundError:
            near = near_recipe(target, folder=name[: name.rfind("/") + 1], besides=path.name)
            message = f"{shown}, and there is no such file beside {path.name}"
            return message, near or f"names count from the folder of {path.name}"
        except (OSError, ValueError) as fault:
            return f"{shown}, which cannot be read: {reason(fault)}", "name a recipe file"
        if stat.S_ISDIR(kind):
            return f"{shown}, which is a folder", "name a file in it"
        if not stat.S_ISREG(kind):
            return f"{shown}, which is not a regular file", "name a recipe file"
        if circle:
            chain = " -> ".join(opened_path.name for opened_path in (*opened, target))
            return f"the recipe extends itself: {chain}", "take one of the links out"
        if len(opened) > _LONGEST_CHAIN:
            return f"more than {_LONGEST_CHAIN} recipes extend one another in a row", "write fewer, longer recipes"
        if self.count >= _MOST_FILES:
            return f"the recipe extends more than {_MOST_FILES} others", "write fewer, longer recipes"
        return None


def _named_twice(entry: Node) -> tuple[str, str]:
    return f"extends lists {show(entry.plain())} twice", "keep one of the two"


def merge(base: Node, top: Node) -> Node:
    """`top` over `base`: mappings merge key by key, everything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)):
        return top
    values = dict(base.value)
    for key, node in top.value.items():
        values[key] = merge(values[key], node) if key in values else node
    return Node(values, top.place, {**base.keys, **top.keys})


def read_text(path: Path, faults: list[Diagnostic]) -> str | None:
    """The file's text without a byte order mark; None with a fault (R100, R108) where it cannot be read."""
    place = Place(path.as_posix())
    if NO_LETTER.search(str(path)):  # it could not be written into a report
        faults.append(place.diagnostic("R108", "the name of the recipe file is not text", _RENAME))
        return None
    try:
        size_bytes = regular_size(path)
        if size_bytes > _LARGEST:
            message = f"the file holds {size_bytes:,} bytes; a recipe is at most {_LARGEST:,}"
            faults.append(place.diagnostic("R108", message, "name a recipe, not a data file"))
            return None
        data = path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a null byte in the name
        faults.append(place.diagnostic("R108", f"cannot read the recipe: {reason(fault)}", _unread_help(fault, path)))
        return None
    return _decoded(data, path, faults)


def _decoded(data: bytes, path: Path, faults: list[Diagnostic]) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = fault.object[: fault.start].decode()
        place = Lines(before, path.as_posix()).place(len(before))
        message = f"the recipe is not UTF-8 text: byte 0x{fault.object[fault.start]:02x}"
        faults.append(place.diagnostic("R100", message, "save it as UTF-8"))
        return None


def reason(fault: OSError | ValueError) -> str:
    """What the system says of a file, without the file's name."""
    return (
        (fault.strerror or "it cannot be opened") if isinstance(fault, OSError) else "its name holds a null character"
    )


def _unread_help(fault: Exception, path: Path) -> str:
    match fault:
        case FileNotFoundError():
            return near_recipe(path) or _near_shipped(path) or "name a recipe file, such as recipes/demo.yaml"
        case IsADirectoryError():
            return "name a file in it"
        case PermissionError():
            return "make it readable"
        case _:
            return "name a recipe file, such as recipes/demo.yaml"


def _near_shipped(path: Path) -> str | None:
    """Help that names the shipped recipe whose name is nearest."""
    near = get_close_matches(path.stem, [each.stem for each in shipped_recipes()], n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}, which comes with compressor?" if near else None


def near_recipe(path: Path, folder: str = "", besides: str | None = None) -> str | None:
    """Help that names the recipe in the same folder whose name is nearest.

    Args:
        path: what is not there.
        folder: written before the name.
        besides: the name of a file that is not meant.
    """
    try:
        beside = [other.name for other in path.parent.glob("*.yaml") if other.is_file() and other.name != besides]
    except (OSError, ValueError):
        return None
    near = get_close_matches(path.name, beside, n=1, cutoff=0.6)
    return f"did you mean {folder + near[0]!r}?" if near else None
