"""Where a command writes: made aside, put in place whole, never half-written, never over something else."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compressor.errors import Diagnostic, OutputError
from compressor.files.signals import held_back

_STAGED, _REPLACED = ".partial", ".old"  # endings of a folder written into, and of what is being replaced
_RANDOM = "12345678"  # stands for the eight letters that mkdtemp chooses
_LOCK_S = 0.5  # for which to ask for a lock that another process may be giving up just now
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
    _check_length(output)
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not is_ours(output):
        message, help_text = f"there is something here that is not a {thing}", f"name another {form} with {option}"
        raise OutputError(Diagnostic("O603", message, str(output), help=help_text))
    if not force:
        help_text = f"name another {form} with {option}, or replace the {thing} with --force"
        raise OutputError(Diagnostic("O601", f"there is a {thing} here already", str(output), help=help_text))


def _check_length(output: Path) -> None:
    """Refuse a name to which what is written aside would add too much, before any work.

    Raises:
        OutputError: O602 the file system does not take it.
    """
    place = output.absolute()
    try:
        os.lstat(place.parent / f".{place.name}.{_RANDOM}{_STAGED}")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            message = "the name is too long for the file system, with what is added to it while it is written"
            raise OutputError(Diagnostic("O602", message, str(output), help="choose a shorter name")) from error


@contextmanager
def claimed(output: Path, option: str = "--output") -> Iterator[None]:
    """Nobody else writes to `output` while the block lasts; the lock stands beside it, and a crash frees it.

    Args:
        output: where things will be; a command that does not ask for the lock is not kept out.
        option: by which another place can be named.

    Raises:
        OutputError: O602 the place cannot be written to; O604 another process is writing there.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  # 40 ms that --help does not need

    place = output.absolute()
    file = place.parent / f".{place.name}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, timeout=_LOCK_S).acquire()
    except Timeout as error:
        if not file.exists():  # it could not be made, which is tried for as long
            raise _cannot_write(output, OSError(errno.EACCES, os.strerror(errno.EACCES)), option) from error
        message, help_text = "another compressor is writing here", f"wait until it is done, or name another: {option}"
        raise OutputError(Diagnostic("O604", message, str(output), help=help_text)) from error
    except OSError as error:
        raise _cannot_write(output, error, option) from error
    with lock:
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink()  # while it is held: who waits for it notices, and makes a new one


@contextmanager
def staged(output: Path, option: str = "--output", inside: Path | None = None) -> Iterator[Path]:
    """A folder beside `output` to write into and to move things from; it is gone when the block ends.

    Args:
        output: where things will be.
        option: by which another place can be named.
        inside: make the folder in this one instead, on the same file system.

    Raises:
        OutputError: O602 the place cannot be written to.
    """
    place = output.absolute()  # beside which there is room even where it is "."
    beside = inside or place.parent
    try:
        beside.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=_STAGED, dir=beside))
    except OSError as error:
        raise _cannot_write(output, error, option) from error
    try:
        yield folder
    except OSError as error:
        if error.errno not in _NO_ROOM and not str(error.filename or "").startswith(str(place.parent)):
            raise  # not about the output
        raise _cannot_write(output, error, option) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(made: Path, output: Path) -> None:
    """Move a finished file or folder to its place; an earlier one stays until then.

    A folder cannot replace another at once: the earlier one is moved aside first, and `recover` puts it back where a
    process was killed between the two.
    """
    output = output.absolute()
    with held_back():
        if not output.exists():
            made.rename(output)
        elif output.is_dir():
            old = made.with_suffix(_REPLACED)
            output.rename(old)
            try:
                made.rename(output)
            except OSError:
                old.rename(output)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            made.replace(output)


def recover(output: Path, beside: Path) -> None:
    """Tidy up after a process that was killed while it wrote to `output`, which must be claimed.

    Args:
        output: gets back what was being replaced, where nothing took its place.
        beside: the folder that it was written in.
    """
    output = output.absolute()
    pattern = re.compile(re.escape(f".{output.name}.") + r"[a-z0-9_]{8}")  # as mkdtemp names them
    for left in sorted(beside.iterdir()) if beside.is_dir() else []:
        if left.suffix not in (_STAGED, _REPLACED) or not pattern.fullmatch(left.stem):
            continue
        if left.suffix == _REPLACED and not os.path.lexists(output):
            left.rename(output)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _cannot_write(output: Path, error: OSError, option: str) -> OutputError:
    message = f"cannot write here: {error.strerror or error}"
    return OutputError(Diagnostic("O602", message, str(output), help=f"choose another place: {option}"))
