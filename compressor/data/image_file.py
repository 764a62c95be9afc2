"""Image files decoded to pixels, on every platform and whatever their names are written in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from compressor.data import OPENCV_MOST_PIXELS
from compressor.data.letterbox import Image
from compressor.errors import DatasetError, Diagnostic
from compressor.files.reading import file_bytes

MOST_BYTES = 2**30  # of an image file
MOST_PIXELS = OPENCV_MOST_PIXELS  # of an image, whatever it is read with

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def decode(content: bytes) -> Image | None:
    """(H, W, 3) uint8, BGR, turned by its EXIF orientation; None where OpenCV cannot read it.

    A JPEG that was cut off is read as far as it goes, as OpenCV does from a file.
    """
    if content.startswith(JPEG_START) and not content.endswith(JPEG_END):
        content += JPEG_END  # from memory OpenCV refuses a JPEG without its end
    if not content:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # such as a size beyond OpenCV's limit
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


def ends_early(content: bytes) -> bool:
    """Whether this is a JPEG without its end marker, which is mostly one that was cut off."""
    return content.startswith(JPEG_START) and not content.endswith(JPEG_END)


def read_image(path: Path, size: tuple[int, int], sha256: str | None = None) -> Image:
    """Decode an image that was found to be `size` before.

    Args:
        path: the file.
        size: width and height in pixels.
        sha256: of the file as it was then; None takes any content of that size.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        DatasetError: D405 the file is gone, cannot be decoded, or has another size; D430 it is another file by now.
    """
    help_text = "replace the image, or delete it, or take its line out of the list file"
    try:
        content = file_bytes(path, MOST_BYTES)
    except OSError as error:
        message = f"cannot read this image: {error.strerror or error}"
        raise DatasetError(Diagnostic("D405", message, str(path), help=help_text)) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise changed(path, "image")
    image = decode(content)
    if image is None:
        message = "this image cannot be decoded: the file is damaged after its header"
        raise DatasetError(Diagnostic("D405", message, str(path), help=help_text))
    height, width = image.shape[:2]
    if (width, height) != size:
        message = f"this image is {width} x {height} px, but its header says {size[0]} x {size[1]}"
        raise DatasetError(Diagnostic("D405", message, str(path), help=help_text))
    return image


def changed(path: Path, what: str) -> DatasetError:
    """D430: a file of the data that is no longer the one that was read first."""
    message = f"this {what} was replaced or changed while the command ran: what is evaluated twice must be the same"
    return DatasetError(Diagnostic("D430", message, str(path), help="start again, and leave the data alone until then"))
