"""Pictures of every kind against Pillow's decoder, and pictures that would fill the memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.data import batches
from compressor.data.batches import load_batches, plan_batches
from compressor.data.dataset import Sample, load_dataset, read_split
from compressor.data.image_file import MOST_PIXELS, decode
from compressor.data.image_size import displayed_size
from compressor.errors import DatasetError

HEIGHT, WIDTH = 48, 64


def gradient(channels: int = 3) -> NDArray[np.uint8]:
    """(48, 64, channels) smooth, so that JPEG keeps it, and different in every direction and channel."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x * 3, y * 5, 255 - x - y, 128 + x // 2][:channels]
    return np.stack(planes, axis=2).astype(np.uint8).squeeze()


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(gradient()), kind, exif=exif, quality=95)


RGB = Image.fromarray(gradient())
ALPHA = Image.fromarray(gradient(4))
GREY = Image.fromarray(gradient(1))
DEEP = Image.fromarray((gradient(1).astype(np.uint16) << 8) | 0x7F)  # what stands in the low byte goes
EXACT = {
    "grey PNG": saved(GREY, "PNG"),
    "grey with alpha PNG": saved(ALPHA.convert("LA"), "PNG"),
    "black and white PNG": saved(GREY.convert("1"), "PNG"),
    "palette PNG": saved(RGB.quantize(64), "PNG"),
    "palette with a transparent colour PNG": saved(RGB.quantize(64), "PNG", transparency=3),
    "16-bit grey PNG": saved(DEEP, "PNG"),
    "interlaced and with alpha PNG": saved(ALPHA, "PNG"),
    "lossless WebP with alpha": saved(ALPHA, "WEBP", lossless=True, exact=True),
    "animated WebP": saved(RGB, "WEBP", save_all=True, append_images=[ImageOps.mirror(RGB)], lossless=True),
    "animated PNG": saved(RGB, "PNG", save_all=True, append_images=[ImageOps.mirror(RGB)]),
    "grey BMP": saved(GREY, "BMP"),
    "palette BMP": saved(RGB.quantize(64), "BMP"),
    "TIFF": saved(RGB, "TIFF"),
    "grey TIFF": saved(GREY, "TIFF"),
    "TIFF of two pages": saved(RGB, "TIFF", save_all=True, append_images=[ImageOps.mirror(RGB)]),
    "compressed TIFF": saved(RGB, "TIFF", compression="tiff_lzw"),
}
NEAR = {
    "grey JPEG": saved(GREY, "JPEG", quality=95),
    "progressive JPEG": saved(RGB, "JPEG", quality=95, progressive=True),
    "CMYK JPEG": saved(RGB.convert("CMYK"), "JPEG", quality=98),
    "WebP": saved(RGB, "WEBP", quality=98),
    **{f"JPEG turned by {i}": turned("JPEG", i) for i in range(1, 9)},
}


def by_pillow(content: bytes) -> NDArray[np.int64]:
    """BGR of the first frame, turned by EXIF; transparency is dropped, not blended, and 16 bits lose the lower 8."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I;16"):
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        if picture.mode == "LA":
            picture = picture.getchannel("L")
        picture = picture.convert("RGBA").convert("RGB") if "transparency" in picture.info else picture.convert("RGB")
    return np.asarray(picture).astype(np.int64)[:, :, ::-1]


@pytest.mark.parametrize("kind", [*EXACT, *NEAR])
def test_pixels_are_those_of_another_decoder(kind: str) -> None:
    content = EXACT.get(kind) or NEAR[kind]
    image, wanted = decode(content), by_pillow(content)
    assert image is not None and image.dtype == np.uint8 and image.shape == wanted.shape
    assert displayed_size(content) == (wanted.shape[1], wanted.shape[0])
    gap = np.abs(image.astype(np.int64) - wanted)
    assert gap.max() <= (0 if kind in EXACT else 12) and gap.mean() <= (0 if kind in EXACT else 2), gap.max()


def test_a_gif_is_no_image_of_a_data_set_but_its_first_frame_is_read_under_another_name() -> None:
    content = saved(RGB.quantize(64), "GIF", save_all=True, append_images=[RGB.quantize(8)])
    image = decode(content)
    assert image is None or (image == by_pillow(content)).all()  # as OpenCV was built


def header(width: int, height: int, depth: int = 8, rows: int = 0) -> bytes:
    """A PNG of any stated size; `rows` rows of it are there, and they compress to nearly nothing."""
    squeezer, packed = zlib.compressobj(9), []
    for _ in range(rows):
        packed.append(squeezer.compress(bytes(1 + width * 3)))
    body = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    chunks = ((b"IHDR", body), (b"IDAT", b"".join(packed) + squeezer.flush()), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def folder_of(place: Path, content: bytes, ending: str = "png") -> str:
    (place / "images").mkdir()
    (place / "images" / "odd").with_suffix(f".{ending}").write_bytes(content)
    (place / "images" / "good.png").write_bytes(saved(RGB, "PNG"))
    (place / "d.yaml").write_text("path: .\nval: images\nnames: [a]\n")
    return str(place / "d.yaml")


BOMBS = {
    "60,000 x 60,000": header(60_000, 60_000),
    "of 2^31 - 1 on each side": header(2**31 - 1, 2**31 - 1),
    "of two thousand million in a row": header(2_000_000_000, 10),
    "20,000 x 20,000 and all there": header(20_000, 20_000, rows=2),
    "no pixels": header(0, 100),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_image_of_too_many_pixels_is_left_out_by_name(tmp_path: Path, bomb: str) -> None:
    split = read_split(load_dataset(folder_of(tmp_path, BOMBS[bomb])), "val")
    assert [sample.image.name for sample in split.samples] == ["good.png"]
    (note,) = split.skipped[:1]
    assert "odd.png: left out, " in note and ("the file is too large: " in note or "too small" in note)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (9, 9)])
def test_an_image_of_a_pixel_is_left_out_by_name(tmp_path: Path, size: tuple[int, int]) -> None:
    split = read_split(load_dataset(folder_of(tmp_path, saved(RGB.resize(size), "PNG"))), "val")
    assert [sample.image.name for sample in split.samples] == ["good.png"]
    assert f"it is {size[0]} x {size[1]} px, and a side below 10 px is too small" in split.skipped[0]


@pytest.mark.parametrize("size", [(10, 2000), (2000, 10), (10, 10)])
def test_a_thin_image_is_judged(tmp_path: Path, size: tuple[int, int]) -> None:
    split = read_split(load_dataset(folder_of(tmp_path, saved(RGB.resize(size), "PNG"))), "val")
    assert len(split.samples) == 2
    (batch,) = load_batches(plan_batches(split.samples, 64, 2, 32), 64, "floor")
    assert batch.images.shape[0] == 2 and all(side % 32 == 0 and side > 0 for side in batch.images.shape[2:])


@pytest.mark.parametrize("kind", ["header only", "cut short", "rows missing", "a TIFF without pixels"])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, kind: str) -> None:
    whole = saved(Image.effect_noise((64, 48), 90), "PNG")
    contents = {
        "header only": header(64, 48),
        "cut short": whole[: len(whole) // 2],
        "rows missing": header(64, 48)[:41] + bytes(4) + header(64, 48)[45:],
        "a TIFF without pixels": b"II*\0" + struct.pack("<I", 2**31),
    }
    dataset = load_dataset(folder_of(tmp_path, contents[kind], "tif" if "TIFF" in kind else "png"))
    split = read_split(dataset, "val")
    if len(split.samples) == 1:
        assert "odd" in split.skipped[0] and "left out, the file is" in split.skipped[0]
        return
    with pytest.raises(DatasetError, match=r"odd\.png: D405 this image cannot be decoded"):
        list(load_batches(plan_batches(split.samples, 64, 2, 32), 64, "floor"))


IN_A_PROCESS = """
import resource, sys
from pathlib import Path
from compressor.data.image_file import decode
from compressor.data.image_size import displayed_size
content = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    displayed_size(content)
except ValueError as fault:
    print(fault)
print(decode(content) is None, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def bitmap(width: int, height: int) -> bytes:
    """A BMP by run lengths, of which no run is there; its size is only in a header that OpenCV reads."""
    start = struct.pack("<2sIHHI", b"BM", 54 + 1024 + 2, 0, 0, 54 + 1024)
    return start + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 2, 0, 0, 256, 0) + bytes(1024) + b"\0\1"


@pytest.mark.parametrize("kind", ["BMP", "PNG with EXIF"])
def test_opencv_itself_refuses_what_no_header_was_read_of(tmp_path: Path, kind: str) -> None:
    """Some kinds are only sized by the decoder; in a process of its own, whose OpenCV is not yet imported."""
    side = 20_000
    assert side * side > MOST_PIXELS and side * side < 2**30  # OpenCV's own bound would let it pass
    exif = struct.pack(">I", 0) + b"eXIf" + struct.pack(">I", zlib.crc32(b"eXIf"))
    png = header(side, side)
    (tmp_path / "x").write_bytes(bitmap(side, side) if kind == "BMP" else png[:33] + exif + png[33:])
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    said, (refused, megabytes) = done.stdout.splitlines()[0], done.stdout.splitlines()[-1].split()
    assert said == "the file is damaged, or no image of a kind that can be read"
    assert refused == "True" and int(megabytes) < 200


@pytest.mark.parametrize(("side", "at_once"), [(9_000, 1), (2_000, 4)])
def test_large_images_are_decoded_one_after_another(monkeypatch: pytest.MonkeyPatch, side: int, at_once: int) -> None:
    """Four threads that each hold 240 MB would be too much; small images are decoded side by side."""
    here, most = [0], [0]
    gate = threading.Lock()

    def read(_path: Path, size: tuple[int, int], _sha256: str | None) -> NDArray[np.uint8]:
        with gate:
            here[0] += 1
            most[0] = max(most[0], here[0])
        time.sleep(0.05)
        with gate:
            here[0] -= 1
        return np.zeros((size[1] // 100, size[0] // 100, 3), np.uint8)

    monkeypatch.setattr(batches, "read_image", read)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    samples = tuple(Sample(Path(f"{i}.png"), side, side, np.zeros((0, 5), np.float32)) for i in range(8))
    assert len(list(load_batches(plan_batches(samples, 64, 4, 32), 64, "floor"))) == 2
    assert most[0] == at_once
