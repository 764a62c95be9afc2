"""Image folders and list files become image paths."""

from __future__ import annotations

import codecs
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compressor.errors import DatasetError, Diagnostic
from compressor.files.reading import MEGABYTE, file_bytes
from compressor.printable import printable

IMAGE_ENDINGS = frozenset(
    (".bmp", ".dng", ".jpeg", ".jpg", ".mpo", ".pfm", ".png", ".tif", ".tiff", ".webp")
)  # upstream's, release v7.0
_LIST_HELP = "a split names a folder, or a text file with one image path per line"


def find_images(sources: tuple[Path, ...]) -> tuple[list[Path], list[str], list[Path]]:
    """The images of all sources, sorted by path as upstream sorts them.

    Args:
        sources: folders, searched through all levels, and text files with one image per line. In a list a leading
            `./` stands for the list's folder; any other relative path counts from the working directory, or else
            from the list's folder.

    Returns:
        The images, and a sentence per listed file that is not there or is named again, and per list whose lines can
        be read in two ways; then the listed files that are not there.

    Raises:
        DatasetError: D401 a list file that is not text; D402 a folder or list file that may not be read.
    """
    counts: Counter[Path] = Counter()
    notes: list[str] = []
    for source in sources:
        if source.is_dir():
            counts.update(_in_folder(source))
        else:
            listed = _in_list(source)
            counts.update(listed.images)
            notes += listed.notes
    images = sorted(counts, key=str)
    missing = [path for path in images if not is_there(path)]
    absent = frozenset(missing)
    notes += [f"{shown(path)}: left out, it is listed and not there" for path in missing]
    notes += [f"{shown(path)}: named {count} times, used once" for path, count in counts.items() if count > 1]
    return [path for path in images if path not in absent], notes, missing


def is_there(path: Path) -> bool:
    """Whether a file or folder can be reached; never raises, whatever the name."""
    try:
        return path.exists()
    except (OSError, ValueError):  # no permission, a name too long, a null byte
        return False


def holds_images(source: Path) -> bool:
    """Whether a source is a file, or a folder with an image somewhere in it."""
    try:
        return not source.is_dir() or any(True for _ in _in_folder(source))
    except DatasetError:  # it may not be readable, which is reported when it is read
        return True


def shown(path: Path) -> str:
    """A path as messages name it: from the working directory where it lies below, and always printable text."""
    here = Path.cwd()
    return readable((path.relative_to(here) if path.is_relative_to(here) else path).as_posix())


def readable(name: str) -> str:
    """A name as printable text: bytes that are no UTF-8, and control characters, stand as escapes."""
    return printable(as_text(name))


def as_text(name: str) -> str:
    """A name of which bytes that are no UTF-8 stand as escapes, so that any file can hold it."""
    if name.isprintable():
        return name
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no name that the system could have given
        return name


def is_utf8(name: str) -> bool:
    """Whether a name that the system gave is text at all: to many systems names are any bytes."""
    return name.isprintable() or _is_utf8(os.fsencode(name))


def _in_folder(folder: Path) -> Iterator[Path]:
    """Every image below a folder, hidden ones apart. Linked folders are followed, each place once."""
    seen = {folder.resolve()}
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if _is_new(Path(place, name), seen)]
        yield from (Path(place, name) for name in files if _names_image(name) and not name.startswith("."))


def _refuse(error: OSError) -> None:
    message = f"cannot read this folder of images: {error.strerror or error}"
    raise DatasetError(Diagnostic("D402", message, str(error.filename), help="give yourself the right to read it"))


def _names_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS  # noqa: PTH122 - a Path per name is slow


def _is_new(folder: Path, seen: set[Path]) -> bool:
    place = folder.resolve()
    if folder.name.startswith(".") or place in seen:
        return False
    seen.add(place)
    return True


@dataclass(frozen=True)
class _Listed:
    """The images of a list file, and what is to be said of them."""

    images: tuple[Path, ...]
    notes: tuple[str, ...]


def _in_list(file: Path) -> _Listed:
    images, twice = [], 0
    for line in filter(_names_image, _lines(file)):
        candidates = _listed(line, file.parent)
        there = [path for path in candidates if is_there(path)]
        images.append((there or candidates)[0])
        twice += len(there) > 1 and there[0].resolve() != there[1].resolve()
    here, lines = shown(Path.cwd()), f"{twice} line{'s' * (twice != 1)}"
    note = (
        f"{shown(file)}: {lines} could mean images below the list's folder too; those below the working folder {here} "
        "were taken"
    )
    return _Listed(tuple(images), (note,) if twice else ())


def _lines(file: Path) -> list[str]:
    """The lines of a list file. Names of images are bytes to the system, and need not be UTF-8."""
    try:
        content = file_bytes(file, 256 * MEGABYTE).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        message = f"cannot read this list of images: {error.strerror or error}"
        raise DatasetError(Diagnostic("D402", message, str(file), help=_LIST_HELP)) from error
    encoding = sys.getfilesystemencoding()
    lines = [line.strip().decode(encoding, "surrogateescape") for line in content.splitlines()]
    if not _is_utf8(content) and not any(map(_names_image, lines)):
        message = "this is not a text file with image paths"
        raise DatasetError(Diagnostic("D401", message, str(file), help=_LIST_HELP))
    return lines


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _listed(line: str, folder: Path) -> tuple[Path, ...]:
    """Where a listed image may lie, the likeliest first."""
    if line.startswith(("./", ".\\")):
        return (folder / line[2:],)
    return tuple(dict.fromkeys((Path.cwd() / line, folder / line)))
