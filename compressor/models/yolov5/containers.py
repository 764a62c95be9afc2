"""The two file layouts of torch.save: a zip archive (torch 1.6 and later), and a run of pickles and raw arrays before.

Both hold one pickle and the bytes of its storages. Sizes are compared with what the file truly holds before anything is
allocated.
"""

from __future__ import annotations

import io
import mmap
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressor.files.reading import regular_size
from compressor.models.yolov5.pickles import MAX_PICKLE_BYTES, Interpreter, damaged
from compressor.models.yolov5.references import StoredArray, StoredTensor

ContainerKind = Literal["zip", "legacy"]

_ZIP_START = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the number that torch's old format starts with, pickled
_LEGACY_START = re.compile(
    rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\.", re.DOTALL
)
_LEGACY_PROTOCOL = 1001
_START_BYTES = 32
_MAX_FILE_BYTES = 8 * 2**30  # a training checkpoint of YOLOv5x6 with its optimiser has 1.1
_MAX_DIRECTORY_BYTES = 4 * 2**20  # of an archive; YOLOv5x6 has 0.2


class Container:
    """An opened checkpoint.

    Attributes:
        kind: which layout.
        root: the pickled object, made of plain data and the records of `references.py`.
        passed_over: names of classes in it that are not known.
        path: the file, for messages.
    """

    def __init__(self, kind: ContainerKind, root: Any, interpreter: Interpreter, read: Callable[[str], bytes]) -> None:
        self.kind: ContainerKind = kind
        self.root = root
        self.passed_over = tuple(interpreter.passed_over)
        self.path = interpreter.path
        self._read = read
        self._storages: dict[str, bytes] = {}  # a storage may be shared by many tensors

    def array(self, tensor: StoredTensor) -> NDArray[Any]:
        """A tensor's values, copied once: floating types as float32, all others as int64, C order.

        Raises:
            CheckpointError: W302 the storage is missing or its size is not the one the pickle states.
        """
        stored = tensor.array
        flat = np.frombuffer(self._storage(stored), dtype=stored.type.code)[stored.start : stored.start + stored.length]
        strides = tuple(step * stored.type.size_bytes for step in tensor.stride)
        # Within bounds: `StoredTensor` is only made for views that end inside their array.
        view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        if stored.type.name == "bfloat16":  # the upper half of a float32
            bits: NDArray[np.uint32] = np.left_shift(view, 16, dtype=np.uint32, casting="unsafe", order="C")
            floats = bits.view(np.float32).reshape(tensor.shape)
            return -floats if tensor.negated else floats
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the reader refuses by name
            values: NDArray[Any] = view.astype(np.float32 if "float" in stored.type.name else np.int64, order="C")
            return -values if tensor.negated else values

    def _storage(self, stored: StoredArray) -> bytes:
        if stored.key not in self._storages:
            self._storages[stored.key] = self._read(stored.key)
        raw = self._storages[stored.key]
        if len(raw) != stored.numel * stored.type.size_bytes:
            stated = stored.numel * stored.type.size_bytes
            raise damaged(self.path, f"storage {stored.key!r} has {len(raw):,} bytes where {stated:,} are stated")
        return raw


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Open a checkpoint of either layout and interpret its pickle; tensors are read on demand until it closes.

    Raises:
        OSError: the file cannot be opened, or is not a regular one; see `regular_size`.
        CheckpointError: W302 damaged; W303 refused; W304 not supported. Other errors of a malformed file come as they
            are: ValueError, KeyError, zipfile.BadZipFile and the like.
    """
    size_bytes = regular_size(path)
    if size_bytes > _MAX_FILE_BYTES:
        raise damaged(str(path), f"the file has {size_bytes:,} bytes, far more than any checkpoint")
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
        stream.seek(0)
        if start.startswith(_ZIP_START):
            _check_directory(stream, path)
            with zipfile.ZipFile(stream) as archive:
                yield _read_zip(archive, path)
        elif _LEGACY_START.match(start):
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield _read_legacy(mapped, path)
        else:
            raise damaged(str(path), _what_it_is(start))


def _what_it_is(start: bytes) -> str:
    if not start:
        return "the file is empty"
    if start.startswith(b"version https:/"):
        return "it is a Git LFS pointer, not the file itself"
    if start.lstrip().startswith(b"<"):
        return "it is a web page, not the file itself"
    return "it starts like no file of torch.save"


def _read_zip(archive: zipfile.ZipFile, path: Path) -> Container:
    entries = {entry.filename: entry for entry in archive.infolist()}
    _check_entries(archive.infolist(), path)
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise damaged(str(path), "the archive has no single data.pkl")
    top = pickles[0].removesuffix("data.pkl")
    if f"{top}constants.pkl" in entries:
        raise damaged(str(path), "it is a TorchScript export; name the .pt it was exported from")
    if f"{top}byteorder" in entries and archive.read(f"{top}byteorder") != b"little":
        raise damaged(str(path), "it was written by a big-endian machine")
    if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise damaged(str(path), "its data.pkl is larger than any checkpoint's")
    interpreter = Interpreter(str(path))
    root = interpreter.run(io.BytesIO(archive.read(pickles[0])))
    return Container("zip", root, interpreter, lambda key: archive.read(f"{top}data/{key}"))


class _Directory(io.BufferedIOBase):
    """An archive as `zipfile` reads its directory: never much of it at once, since each byte becomes many."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path

    def read(self, size: int | None = -1) -> bytes:
        """As any stream, but for W302 where the directory is too long."""
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise damaged(str(self._path), "the archive's directory is longer than any checkpoint's")
        return self._stream.read(_MAX_DIRECTORY_BYTES if size is None or size < 0 else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As any stream."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """As any stream."""
        return self._stream.tell()

    def seekable(self) -> bool:
        """True."""
        return True


def _check_directory(stream: IO[bytes], path: Path) -> None:
    zipfile.ZipFile(_Directory(stream, path)).close()
    stream.seek(0)


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse archives that unpack to more than they are, hide entries behind others, or are encrypted."""
    if len({entry.filename for entry in entries}) != len(entries):
        raise damaged(str(path), "the archive holds two entries of the same name")
    if any(entry.flag_bits & 1 for entry in entries):
        raise damaged(str(path), "the archive is encrypted")
    # torch.save stores without compression, so the contents are never larger than the file.
    if sum(entry.file_size for entry in entries) > path.stat().st_size * 1.1 + 2**20:
        raise damaged(str(path), "the archive unpacks to far more than its own size")


def _read_legacy(stream: mmap.mmap, path: Path) -> Container:
    """Magic number, protocol, system description, the object, the storage keys, then per key a count and raw data."""
    interpreter = Interpreter(str(path))
    magic, protocol, system = (Interpreter(str(path)).run(stream) for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL or system["little_endian"] is not True:
        raise damaged(str(path), "it was written in another protocol or by a big-endian machine")
    root = interpreter.run(stream)
    places: dict[str, tuple[int, int]] = {}
    for key in Interpreter(str(path)).run(stream):
        if not isinstance(key, str):  # hashing anything else could take for ever
            raise damaged(str(path), "a storage has no proper name")
        stored = interpreter.storages[key]
        count = int.from_bytes(stream.read(8), "little")
        places[key] = (stream.tell(), count * stored.type.size_bytes)
        if count != stored.numel or sum(places[key]) > len(stream):
            raise damaged(str(path), f"storage {key!r} is cut short or has another length than stated")
        stream.seek(places[key][1], io.SEEK_CUR)

    def read(key: str) -> bytes:
        start, size = places[key]
        return stream[start : start + size]

    return Container("legacy", root, interpreter, read)
