"""What compressor wrote on this machine, and how what it did not write is kept when its place is taken."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from compressor.files.cache import cache_folder
from compressor.files.writing import publish, staged
from compressor.progress import Progress


def put(made: Path, output: Path, progress: Progress) -> None:
    """Move a finished file or folder to its place. What is there stays beside it unless compressor wrote just that.

    Args:
        made: what was written, on the same file system.
        output: its place.
        progress: receives the names of what is kept.
    """
    if os.path.lexists(output) and not _same(made, output) and not is_known(output):
        keep_aside(output, (output,), progress)
    publish(made, output)
    remember(output)


def keep_aside(output: Path, files: Sequence[Path], progress: Progress) -> None:
    """Copy what is about to be replaced to a new place beside `output`, whole or not at all.

    Args:
        output: what is replaced: a file or a folder.
        files: `output` itself, or files in it, which are kept by their paths below it.
        progress: receives the place.
    """
    with staged(output) as folder:
        copied = folder / output.name
        for file in files:
            target = copied / file.relative_to(output)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                shutil.copytree(file, target)
            else:
                shutil.copy2(file, target)
        twin = next((place for place in _kept(output) if _same(copied, place)), None)
        place = twin or _free(output)
        if twin is None:
            copied.rename(place)
    names = [file.relative_to(output).as_posix() for file in files if file != output]
    message = f"{', '.join(names)} of {output}" if names else str(output)
    progress.warn(f"{message}: not as compressor wrote it, so it is kept: {place}")


def _names(output: Path) -> Iterator[Path]:
    """`report.kept.md`, `report.kept2.md`, ... beside report.md; of a folder the number stands last."""
    suffix = "" if output.is_dir() else output.suffix
    stem = output.name.removesuffix(suffix)
    return (output.absolute().with_name(f"{stem}.kept{number if number > 1 else ''}{suffix}") for number in count(1))


def _kept(output: Path) -> Iterator[Path]:
    for place in _names(output):
        if not os.path.lexists(place):
            return
        yield place


def _free(output: Path) -> Path:
    return next(place for place in _names(output) if not os.path.lexists(place))


def _files(place: Path) -> dict[str, str]:
    """The digest of a file, or of every file in a folder by its path there."""
    files = [each for each in sorted(place.rglob("*")) if not each.is_dir()] if place.is_dir() else [place]
    return {each.relative_to(place).as_posix(): digest(each) for each in files}


def _same(a: Path, b: Path) -> bool:
    return a.is_dir() == b.is_dir() and _files(a) == _files(b)


def digest(file: Path) -> str:
    """SHA-256 of a file, in hex; empty where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def is_known(place: Path) -> bool:
    """Whether compressor wrote just these bytes on this machine: a file, or every file of a folder."""
    return all((_folder() / each).is_file() for each in _files(place).values() if each)


def remember(place: Path) -> None:
    """Note that compressor wrote a file, or all files of a folder; where that fails they are kept aside later."""
    with suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        for each in _files(place).values():
            (_folder() / each).touch()


def _folder() -> Path:
    return cache_folder() / "written"
