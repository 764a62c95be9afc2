"""Image files for tests, written by hand where an encoder would not."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from compressor.data.letterbox import Image


def noise(width: int, height: int, seed: int = 0) -> Image:
    """(height, width, 3) uint8, BGR."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def encoded(ending: str, width: int = 40, height: int = 20, *options: int) -> bytes:
    """An image file's bytes."""
    done, buffer = cv2.imencode(ending, noise(width, height), options)
    assert done
    return buffer.tobytes()


def write_image(path: Path, width: int = 40, height: int = 20, seed: int = 0) -> Path:
    """Save seeded noise, lossless for a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), noise(width, height, seed))
    return path


def tiff_block(orientation: int, order: str) -> bytes:
    """An EXIF block whose only entry is the orientation; `order` is < or >."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    """The JPEG with an EXIF segment at its start."""
    return jpeg[:2] + jpeg_segment(0xE1, b"Exif\0\0" + block) + jpeg[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
