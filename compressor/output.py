"""Where a command writes: made aside, put in place whole, never half-written, never over something else."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.errors import Diagnostic, OutputError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a write raises says no file


def check_place(
    output: Path,
    thing: str,
    form: str,
    is_ours: Callable[[Path], bool],
    *,
    force: bool,
    option: str = "--output",
) -> None:
    """Refuse to write over an earlier output unless asked to, and over anything else in any case.

    Args:
        output: where to write.
        thing: what is written, such as `run`.
        form: what it takes, such as `folder`.
        is_ours: whether what is there is such a thing; never asked of a link.
        force: replace it.
        option: by which another place can be named.

    Raises:
        OutputError: O601 such a thing is there; O603 something else is.
    """
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not is_ours(output):
        message, help_text = f"there is something here that is not a {thing}", f"name another {form} with {option}"
        raise OutputError(Diagnostic("O603", message, str(output), help=help_text))
    if not force:
        help_text = f"name another {form} with {option}, or replace the {thing} with --force"
        raise OutputError(Diagnostic("O601", f"there is a {thing} here already", str(output), help=help_text))


@contextmanager
def staged(output: Path, option: str = "--output") -> Iterator[Path]:
    """A folder beside `output` to write into and to move things from; it is gone when the block ends.

    Args:
        output: where things will be.
        option: by which another place can be named.

    Raises:
        OutputError: O602 the place cannot be written to.
    """
    place = output.absolute()  # beside which there is room even where it is "."
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent))
    except OSError as fault:
        raise _cannot_write(output, fault, option) from fault
    try:
        yield folder
    except OSError as fault:
        if fault.errno not in _NO_ROOM and not str(fault.filename or "").startswith(str(place.parent)):
            raise  # not about the output
        raise _cannot_write(output, fault, option) from fault
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(made: Path, output: Path) -> None:
    """Move a finished file or folder to its place; an earlier one stays until then."""
    output = output.absolute()
    if not output.exists():
        made.rename(output)
    elif output.is_dir():
        old = made.with_suffix(".old")
        output.rename(old)
        try:
            made.rename(output)
        except OSError:
            old.rename(output)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        made.replace(output)


def _cannot_write(output: Path, fault: OSError, option: str) -> OutputError:
    message = f"cannot write here: {fault.strerror or fault}"
    return OutputError(Diagnostic("O602", message, str(output), help=f"choose another place: {option}"))
