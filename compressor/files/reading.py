"""Files that somebody handed in, read whole: never what has no end, and never more than there is room for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MEGABYTE = 10**6
MODEL_BYTES = 4 * 2**30  # of a network's file; seven times the float32 weights of YOLOv5x6


def file_bytes(path: Path, most_bytes: int) -> bytes:
    """The contents of a regular file.

    Args:
        path: the file.
        most_bytes: no file of its kind is larger.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    regular_size(path, most_bytes)
    return path.read_bytes()


def regular_size(path: Path, most_bytes: int | None = None) -> int:
    """Bytes of a regular file, which can be opened: of a pipe, even opening it might never end.

    Args:
        path: the file.
        most_bytes: no file of its kind is larger.

    Raises:
        OSError: it is not there, cannot be reached, or is larger; a folder is an IsADirectoryError, and of a pipe, a
            device or a file that is too large, the error has no `filename`, as it is not the system's.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if most_bytes is not None and found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it holds {found.st_size:,} bytes, and at most {most_bytes:,} are read")
    return found.st_size


def lies_below(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder or below it, wherever links lead."""
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # links in a circle, an invalid name
        return False
