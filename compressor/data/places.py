"""Where the paths of a dataset YAML lead: the folder under which a split is there, and the others that would do.

YOLOv5 counts a relative `path:` from its own folder, which is the working folder when it runs; many people write it as
seen from the YAML. Both are tried. A path that begins with `../`, as in YOLOv5's own files, counts from the working
folder first, every other one from the YAML's folder first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compressor.data.sources import holds_images, is_there, shown

_UP = "../"

Paths = tuple[Path, ...]


@dataclass(frozen=True)
class Found:
    """Where paths that belong together lie.

    Attributes:
        paths: one for each text, in order; of one that is nowhere the first place that was looked at.
        roots: the folder under which all of them are; all that were looked at where there is no such one.
        tried: for each path that is not there, where it was looked for.
        others: the same paths in other places, where they are there as well.
        together: whether all of them are under one root.
    """

    paths: Paths
    roots: Paths
    tried: dict[Path, Paths] = field(default_factory=dict)
    others: tuple[Paths, ...] = ()
    together: bool = True

    def choice(self, split: str) -> str | None:
        """A sentence on what was taken where there was a choice; None where there was none."""
        if not self.others:
            return None
        others = ", or ".join(", ".join(map(shown, paths)) for paths in self.others)
        taken = ", ".join(map(shown, self.paths))
        return (
            f"the {split} images are those of {taken}; the YAML could also mean {others}: an absolute path decides it"
        )


def find(texts: Sequence[str], root: str | None, file_folder: Path, working_folder: Path) -> Found:
    """Look for paths that belong together: under one root where there is such a one, else each by itself.

    Where several roots would do, the first is taken that holds images.

    Args:
        texts: as the YAML has them.
        root: its key `path`; None where the texts count from the two folders.
        file_folder: of the YAML.
        working_folder: of the process.
    """
    readings = list(_readings(texts, root, file_folder, working_folder))
    there: dict[Paths, tuple[Path, Paths]] = {}
    for base, paths in readings:
        if all(map(is_there, paths)):
            there.setdefault(tuple(path.resolve() for path in paths), (base, paths))
    fitting = list(there.values())
    if len(fitting) > 1:
        fitting = [each for each in fitting if all(map(holds_images, each[1]))] or fitting[:1]
    if fitting:
        (base, taken), *others = fitting
        return Found(taken, (base,), others=tuple(paths for _, paths in others))
    return _each_by_itself(readings)


def _readings(
    texts: Sequence[str], root: str | None, file_folder: Path, working_folder: Path
) -> Iterator[tuple[Path, Paths]]:
    """Every way to read the texts, the likeliest first: the folder they count from, and where they then lie."""
    order = (file_folder, working_folder)
    as_upstream = any(text.startswith(_UP) for text in ([root] if root is not None else texts))
    bases: Paths = order[::-1] if as_upstream else order
    shorter: Paths = order
    if root is not None:
        bases = (*(_joined(place, root) for place in bases), *(_joined(place, _without_up(root)) for place in order))
        shorter = bases
    for base in bases:
        yield base, tuple(_joined(base, text) for text in texts)
    for base in shorter:  # upstream tries a path again without its leading ../
        literal = [_joined(base, text) for text in texts]
        yield (
            base,
            tuple(
                path if is_there(path) else _joined(base, _without_up(text))
                for path, text in zip(literal, texts, strict=True)
            ),
        )


def _without_up(text: str) -> str:
    """A path without its leading `../`; as it is where nothing would be left of it."""
    shorter = text.removeprefix(_UP)
    return shorter if shorter.strip("./") else text


def _joined(place: Path, text: str) -> Path:
    path = place / os.path.expanduser(text)  # noqa: PTH111 - Path's raises for an unknown user
    # Links stay as they are elsewhere: what one points to need not have an `images` folder above it.
    return path.resolve() if ".." in path.parts else path


def _each_by_itself(readings: list[tuple[Path, Paths]]) -> Found:
    """Each path the first of its places that is there."""
    taken, tried = [], {}
    for places in zip(*(paths for _, paths in readings), strict=True):
        candidates = tuple(dict.fromkeys(places))
        found = next(filter(is_there, candidates), None)
        if found is None:
            tried[candidates[0]] = candidates
        taken.append(found or candidates[0])
    return Found(tuple(taken), tuple(dict.fromkeys(base for base, _ in readings)), tried, together=False)
