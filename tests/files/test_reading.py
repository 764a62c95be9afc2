"""What has no end is never opened, and what is too large never read."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compressor.files.reading import file_bytes, regular_size


@contextmanager
def let_go(pipe: Path) -> Iterator[None]:
    """A reader that waits for the pipe gets an end after two seconds, and fails rather than hangs."""
    waits = threading.Timer(2, lambda: os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK)))
    waits.start()
    try:
        yield
    finally:
        waits.cancel()


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"12345")
    assert regular_size(file) == 5
    assert file_bytes(file, 5) == file_bytes(file, 6) == b"12345"
    (tmp_path / "empty").touch()
    assert file_bytes(tmp_path / "empty", 0) == b""


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    with file.open("wb") as stream:
        stream.truncate(10**12)  # it takes no room, and to read it would take a terabyte
    with pytest.raises(OSError, match="it holds 1,000,000,000,000 bytes, and at most 999,999,999,999 are read"):
        file_bytes(file, 10**12 - 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX's")
def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with let_go(pipe), pytest.raises(OSError, match="it is not a regular file") as error:
        file_bytes(pipe, 10)
    assert error.value.filename is None  # by which a checkpoint's reader tells it from a file that is not there


def test_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as error:
        file_bytes(tmp_path, 10**9)
    assert error.value.filename == str(tmp_path)
    with pytest.raises(IsADirectoryError):
        regular_size(tmp_path)


def test_what_is_not_there_is_the_systems_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_bytes(tmp_path / "x", 10)
