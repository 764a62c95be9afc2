"""The text of a dataset YAML as checked values; every error with its line and column.

Upstream's files are the measure: keys this project does not know are left alone, and `download` is never run. Class
names are taken as they are written, so a class called `no` or `1` keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from compressor.errors import DatasetError, Diagnostic

SPLITS = ("train", "val", "test")

_WHOLE = re.compile(r"0|[1-9]\d{0,5}")
_LONGEST = 1000  # letters of a path or a name
_NULL = "tag:yaml.org,2002:null"
_LIST_HELP = "write one path, or a list of paths"


@dataclass(frozen=True)
class Description:
    """What a dataset YAML says.

    Attributes:
        root: the `path` key; the folder that all other paths are relative to.
        sources: split to image folders or list files, as written.
        names: class names by index.
        annotations: COCO instances JSON of the val split.
    """

    root: str | None
    sources: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    annotations: str | None


def parse_description(content: bytes, path: str) -> Description:
    """Read a dataset YAML.

    Args:
        content: the file's bytes.
        path: the file's name for messages.

    Raises:
        DatasetError: D401, every error in file order.
    """
    page = _Page(path)
    node = _compose(content, path)
    keys = page.keys(node, "a dataset YAML must be a mapping with the keys path, train, val, names")
    if not isinstance(node, yaml.MappingNode):
        raise DatasetError(*page.errors)
    description = Description(
        root=page.text(keys.get("path"), "path"),
        sources={split: page.texts(keys[split], split) for split in SPLITS if not _is_null(keys.get(split))},
        names=page.class_names(keys.get("names"), keys.get("nc")),
        annotations=page.text(keys.get("annotations"), "annotations"),
    )
    if page.errors:
        raise DatasetError(*sorted(page.errors, key=lambda error: (error.line or 0, error.column or 0)))
    return description


def _compose(content: bytes, path: str) -> yaml.Node | None:
    try:
        return yaml.compose(content.decode("utf-8-sig"), yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise DatasetError(Diagnostic("D401", "the file is not UTF-8 text", path, help="save it as UTF-8")) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        message = f"not valid YAML: {error.problem or error.context}"
        help_text = "check the indentation, the colons and the quotes around this place"
        raise DatasetError(Diagnostic("D401", message, path, line, column, help_text)) from error
    except (yaml.YAMLError, RecursionError) as error:
        message = "not valid YAML: a control character, or brackets nested too deep"
        raise DatasetError(Diagnostic("D401", message, path, help="is this a dataset YAML?")) from error


def _is_null(node: yaml.Node | None) -> bool:
    return node is None or node.tag == _NULL


class _Page:
    """Reads nodes of one file and gathers what is wrong with them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.errors: list[Diagnostic] = []

    def error(self, node: yaml.Node | None, message: str, help_text: str | None = None) -> None:
        """Note an error at a node."""
        line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node else (None, None)
        self.errors.append(Diagnostic("D401", message, self.path, line, column, help_text))

    def keys(self, node: yaml.Node | None, otherwise: str) -> dict[str, yaml.Node]:
        """A mapping's values by key as written; a repeated key is an error, and so is anything but a mapping."""
        if not isinstance(node, yaml.MappingNode):
            self.error(node, otherwise)
            return {}
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.error(key, "a key must be a word or a number")
            elif key.tag.endswith(":merge"):
                self.error(key, "merge keys (<<) are not read", "write the keys out")
            elif key.value in values:
                self.error(key, f"the key {key.value!r} is given twice", "keep one of them")
            else:
                values[key.value] = value
        return values

    def text(self, node: yaml.Node | None, key: str) -> str | None:
        """A path; None where the key is missing or empty."""
        if node is None or _is_null(node):
            return None
        return next(self._scalars([node], f"{key} must be one path"), None)

    def texts(self, node: yaml.Node, key: str) -> tuple[str, ...]:
        """One path or several."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not nodes:
            self.error(node, f"{key} names no images", _LIST_HELP)
        return tuple(self._scalars(nodes, f"{key} must be a path, or a list of paths"))

    def class_names(self, names: yaml.Node | None, nc: yaml.Node | None) -> tuple[str, ...]:
        """Names by index; `class0`, `class1`, ... where only their number is given."""
        errors_before = len(self.errors)
        count = None if nc is None or _is_null(nc) else self._count(nc)
        if names is None or _is_null(names):
            if count is None and len(self.errors) == errors_before:
                message = "the classes are missing"
                self.error(names, message, "add names: a list, or a mapping from 0, 1, 2, ... to names")
            return tuple(f"class{index}" for index in range(count or 0))
        nodes = names.value if isinstance(names, yaml.SequenceNode) else self._by_index(names)
        found = tuple(self._scalars(nodes, "a class name must be a word or a number"))
        if not found and len(self.errors) == errors_before:
            self.error(names, "names holds no class", "list at least one class")
        if nc is not None and count is not None and len(self.errors) == errors_before and count != len(found):
            self.error(nc, f"nc is {count}, but names holds {len(found)}", "correct one of them, or leave nc out")
        return found

    def _count(self, node: yaml.Node) -> int | None:
        if isinstance(node, yaml.ScalarNode) and _WHOLE.fullmatch(node.value) and int(node.value) > 0:
            return int(node.value)
        self.error(node, "nc must be a whole number above 0")
        return None

    def _by_index(self, node: yaml.Node) -> list[yaml.Node]:
        values = self.keys(node, "names must be a list, or a mapping from 0, 1, 2, ... to names")
        wrong = [key for key in values if not _WHOLE.fullmatch(key)]
        if wrong:
            self.error(values[wrong[0]], f"names has the key {wrong[0]!r}; its keys must be whole numbers from 0")
            return []
        gap = next((index for index in range(len(values)) if str(index) not in values), None)
        if gap is not None:
            help_text = "number the classes from 0 without a gap"
            self.error(node, f"names has {len(values)} classes, but none with the index {gap}", help_text)
            return []
        return [values[str(index)] for index in range(len(values))]

    def _scalars(self, nodes: list[yaml.Node], otherwise: str) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, yaml.ScalarNode) and len(node.value) > _LONGEST:
                self.error(node, f"{otherwise}, and no longer than {_LONGEST:,} letters, got {len(node.value):,}")
            elif isinstance(node, yaml.ScalarNode) and not _is_null(node) and node.value.strip():
                yield node.value
            else:
                self.error(node, otherwise)
