"""The size of an image as it is shown, from its first bytes where these say it, without decoding the pixels.

OpenCV turns an image by its EXIF orientation when it decodes; the sizes here are those after that turn.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from compressor.data.image_file import JPEG_START, MOST_PIXELS, decode
from compressor.data.image_kind import is_taken

Size = tuple[int, int]  # width, height in pixels

_PNG_START = b"\x89PNG\r\n\x1a\n"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_ORIENTATION = 0x0112
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)


def displayed_size(content: bytes) -> Size:
    """Width and height of an image file as it is shown.

    Raises:
        ValueError: the file is empty, cut short, unreadable to OpenCV, or of too many pixels; the message says which.
    """
    if not content:
        raise ValueError("the file is empty")
    try:
        size = _size_from_header(content)
    except (struct.error, IndexError) as error:
        raise ValueError("the file is cut short") from error
    if size is None:
        image = decode(content) if is_taken(content) else None
        if image is None:
            raise ValueError("the file is damaged, or no image of a kind that can be read")
        size = image.shape[1], image.shape[0]
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"the file is too large: {size[0]:,} x {size[1]:,} px, of at most {MOST_PIXELS:,} pixels")
    return size


def _size_from_header(content: bytes) -> Size | None:
    """None for the kinds and rare forms that only the decoder can check."""
    if content.startswith(JPEG_START):
        return _jpeg_size(content)
    if content.startswith(_PNG_START):
        return _png_size(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp_size(content)
    return None


def _jpeg_size(content: bytes) -> Size | None:
    orientation: int | None = None
    for marker, start, end in _jpeg_segments(content):
        if marker == _APP1 and orientation is None and content[start : start + 6] == b"Exif\0\0":
            orientation = _exif_orientation(content[start + 6 : end])
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, start + 1)
            size = (height, width) if orientation in _TURNED_BY_A_QUARTER else (width, height)
            return size if height and width else None
    return None


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment's data, up to the pixels."""
    position = 2
    while content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:  # a fill byte, or a marker that stands alone
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            return
        (length,) = struct.unpack_from(">H", content, position + 2)
        yield marker, position + 4, position + 2 + length
        position += 2 + length


def _exif_orientation(tiff: bytes) -> int:
    """Orientation 1 to 8 of the first image directory; 1 where none is given or the block is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _kind, _count, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return int(value)
    except struct.error:
        pass
    return 1


def _png_size(content: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", content, 16)
    position, kind = len(_PNG_START), b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", content, position)
        kind = content[position + 4 : position + 8]
        if kind == b"eXIf":  # whether it turns the image depends on OpenCV's version
            return None
        position += 12 + length
    if position > len(content):
        raise IndexError(position)
    return width, height


def _webp_size(content: bytes) -> Size | None:
    (length,) = struct.unpack_from("<I", content, 4)
    if len(content) < length + 8:
        raise IndexError(length)
    kind = content[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
