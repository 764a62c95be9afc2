"""Image folders and list files become image paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from compressor.errors import DatasetError, Diagnostic
from compressor.input_file import MEGABYTE, file_bytes

IMAGE_ENDINGS = frozenset(
    (".bmp", ".dng", ".jpeg", ".jpg", ".mpo", ".pfm", ".png", ".tif", ".tiff", ".webp")
)  # upstream's, release v7.0


def find_images(sources: tuple[Path, ...]) -> tuple[list[Path], list[str]]:
    """The images of all sources, sorted by path as upstream sorts them.

    Args:
        sources: folders, searched through all levels, and text files with one image per line. In a list a leading
            `./` stands for the list's folder; any other relative path counts from the working directory, or else
            from the list's folder.

    Returns:
        The images, and a sentence per listed file that is not there or is named again.

    Raises:
        DatasetError: D401 a list file that is not text; D402 a folder or list file that may not be read.
    """
    counts = Counter(
        path for source in sources for path in (_in_folder(source) if source.is_dir() else _in_list(source))
    )
    images = sorted(counts, key=str)
    missing = [path for path in images if not is_there(path)]
    absent = frozenset(missing)
    notes = [f"{shown(path)}: left out, it is listed and not there" for path in missing]
    notes += [f"{shown(path)}: named {count} times, used once" for path, count in counts.items() if count > 1]
    return [path for path in images if path not in absent], notes


def is_there(path: Path) -> bool:
    """Whether a file or folder can be reached; never raises, whatever the name."""
    try:
        return path.exists()
    except (OSError, ValueError):  # no permission, a name too long, a null byte
        return False


def shown(path: Path) -> str:
    """A path as messages name it: from the working directory where it lies below."""
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def _in_folder(folder: Path) -> Iterator[Path]:
    """Every image below a folder, hidden ones apart. Linked folders are followed, each place once."""
    seen = {folder.resolve()}
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if _is_new(Path(place, name), seen)]
        yield from (Path(place, name) for name in files if _names_image(name) and not name.startswith("."))


def _refuse(fault: OSError) -> None:
    message = f"cannot read this folder of images: {fault.strerror or fault}"
    raise DatasetError(Diagnostic("D402", message, str(fault.filename), help="give yourself the right to read it"))


def _names_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS  # noqa: PTH122 - a Path per name is slow


def _is_new(folder: Path, seen: set[Path]) -> bool:
    place = folder.resolve()
    if folder.name.startswith(".") or place in seen:
        return False
    seen.add(place)
    return True


def _in_list(file: Path) -> Iterator[Path]:
    help_text = "a split names a folder, or a text file with one image path per line"
    try:
        lines = file_bytes(file, 256 * MEGABYTE).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        message = "this is not a text file with image paths"
        raise DatasetError(Diagnostic("D401", message, str(file), help=help_text)) from fault
    except OSError as fault:
        message = f"cannot read this list of images: {fault.strerror or fault}"
        raise DatasetError(Diagnostic("D402", message, str(file), help=help_text)) from fault
    for line in (line.strip() for line in lines):
        if _names_image(line):
            yield _listed(line, file.parent)


def _listed(line: str, folder: Path) -> Path:
    if line.startswith(("./", ".\\")):
        return folder / line[2:]
    here = Path.cwd() / line
    return here if is_there(here) or not is_there(folder / line) else folder / line
