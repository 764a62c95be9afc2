"""What kind of file an image is by its first bytes, whatever its name ends in.

YOLOv5 goes by the content: of the kinds that OpenCV can decode it takes JPEG (and MPO, several JPEG in one), PNG, BMP,
TIFF (and DNG, which is one) and WebP, and leaves out every other.
"""

from __future__ import annotations

_TAKEN = (
    (0, b"\xff\xd8\xff"),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"BM"),
    *((0, start) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")),  # TIFF
    (8, b"WEBP"),  # behind RIFF and a length
)
_LEFT_OUT = (
    (0, b"GIF8", "GIF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),  # a bare code stream
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
    *((0, b"P" + digit, "PPM") for digit in (b"1", b"2", b"3", b"4", b"5", b"6", b"7")),
    *((0, b"P" + letter, "PFM") for letter in (b"F\n", b"f\n")),
    (0, b"#?R", "Radiance HDR"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
)


def is_taken(content: bytes) -> bool:
    """Whether an image is of a kind that YOLOv5 takes."""
    return any(content.startswith(start, place) for place, start in _TAKEN)


def kind_left_out(content: bytes) -> str | None:
    """The kind, in words, of an image that can be decoded and that YOLOv5 leaves out; None of any other content."""
    return next((kind for place, start, kind in _LEFT_OUT if content.startswith(start, place)), None)
