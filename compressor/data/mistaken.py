"""What people name in the place of a dataset YAML, and how they get from there to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compressor.data.sources import IMAGE_ENDINGS, is_there, shown
from compressor.files.reading import regular_size

_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"BZh": "a bzip2 archive",
}  # by their first bytes
_TAR = (257, b"ustar")
_KEYS = "with path:, val: and names: as YOLOv5 trains with (docs/data.md shows one)"


@dataclass(frozen=True)
class Mistaken:
    """What stands in the place of a dataset YAML.

    Attributes:
        what: it is, in words.
        way_on: what to do.
    """

    what: str
    way_on: str


def what_else(file: Path) -> Mistaken | None:
    """What a path names that is clearly no YAML: a folder, an archive, COCO annotations, an image; None of all else."""
    if not is_there(file):
        return None
    if file.is_dir():
        return Mistaken("a folder", _out_of(file))
    archive = _archive(file)
    if archive is not None:
        return Mistaken(archive, f"unpack it, and name the YAML in it; where it holds none, write one {_KEYS}")
    ending = file.suffix.lower()
    if ending == ".json":
        return Mistaken("a JSON file", f"write a YAML {_KEYS}, and name COCO annotations under its key annotations:")
    if ending in IMAGE_ENDINGS:
        return Mistaken("an image", f"write a YAML {_KEYS}: a folder of images is what val: names")
    return None


def _out_of(folder: Path) -> str:
    """How to get from a folder to a data set."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    except OSError:
        found = []
    if found:
        more = f" (there are {len(found)})" if len(found) > 1 else ""
        return f"name the YAML in it{more}: {shown(found[0])}"
    return f"it holds no YAML: write one {_KEYS}"


def _archive(file: Path) -> str | None:
    try:
        regular_size(file)
        with file.open("rb") as opened:
            start = opened.read(512)
    except OSError:  # which is reported when it is read as a YAML
        return None
    place, mark = _TAR
    if start.startswith(mark, place):
        return "a tar archive"
    return next((what for first, what in _ARCHIVES.items() if start.startswith(first)), None)
