"""Files that somebody handed in, read whole: never what has no end, and never more than there is room for."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

MEGABYTE = 10**6


def file_bytes(path: Path, most_bytes: int) -> bytes:
    """The contents of a regular file.

    Args:
        path: the file.
        most_bytes: no file of its kind is larger.

    Raises:
        OSError: it cannot be read, is a pipe or a device, or is larger.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")  # and reading a pipe might never end
    if found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it holds {found.st_size:,} bytes, and at most {most_bytes:,} are read")
    return path.read_bytes()
