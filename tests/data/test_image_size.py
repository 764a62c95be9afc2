from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.image_file import decode, ends_early, read_image
from compressor.data.image_size import displayed_size
from compressor.errors import DatasetError
from tests.data.images import encoded, jpeg_segment, noise, png_chunk, tiff_block, with_exif

JPEG, PNG = encoded(".jpg"), encoded(".png")


def decoded_size(content: bytes) -> tuple[int, int]:
    image = decode(content)
    assert image is not None
    return image.shape[1], image.shape[0]


@pytest.mark.parametrize(
    "content",
    [
        JPEG,
        encoded(".jpg", 40, 20, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        PNG,
        encoded(".bmp"),
        encoded(".tiff"),
        encoded(".webp"),
        encoded(".webp", 40, 20, cv2.IMWRITE_WEBP_QUALITY, 50),
        JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],  # fill bytes before a marker
        JPEG + b"\0\0\0",
    ],
)
def test_every_kind_has_its_size(content: bytes) -> None:
    assert displayed_size(content) == (40, 20) == decoded_size(content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_turns_an_image_as_opencv_does(orientation: int, order: str) -> None:
    content = with_exif(JPEG, tiff_block(orientation, order))
    assert displayed_size(content) == decoded_size(content)
    assert displayed_size(content) == ((20, 40) if orientation in (5, 6, 7, 8) else (40, 20))


XMP = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")


@pytest.mark.parametrize(
    "content",
    [
        JPEG[:2] + XMP + with_exif(JPEG, tiff_block(6, "<"))[2:],
        with_exif(with_exif(JPEG, tiff_block(6, "<")), tiff_block(1, ">")),
        with_exif(with_exif(JPEG, tiff_block(1, "<")), tiff_block(8, ">")),
        with_exif(JPEG, b"II*\0\xff\xff\xff\xff"),
        with_exif(JPEG, b"??"),
        with_exif(JPEG, b""),
        PNG[:33] + png_chunk(b"eXIf", tiff_block(6, ">")) + PNG[33:],
    ],
)
def test_rare_exif_is_read_as_opencv_reads_it(content: bytes) -> None:
    assert displayed_size(content) == decoded_size(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\xff\xd8", "the file is cut short"),
        (JPEG[:100], "the file is cut short"),
        (PNG[:20], "the file is cut short"),
        (PNG[:-20], "the file is cut short"),
        (PNG[:-2], "the file is cut short"),
        (encoded(".webp")[:-9], "the file is cut short"),
        (b"<html>404</html>", "the file is damaged, or no image of a kind that can be read"),
        (JPEG[:2] + b"garbage", "the file is damaged, or no image of a kind that can be read"),
    ],
)
def test_a_damaged_file_says_how(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        displayed_size(content)
    assert str(caught.value) == reason


@given(st.data())
def test_any_bytes_give_a_size_or_a_reason(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from((JPEG, PNG, with_exif(JPEG, tiff_block(6, ">"))))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))
    try:
        width, height = displayed_size(bytes(content))
    except ValueError as reason:
        assert str(reason).startswith("the file is")
    else:
        assert width >= 0 and height >= 0


def test_a_cut_off_jpeg_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    large = encoded(".jpg", 320, 240)
    assert not ends_early(large) and not ends_early(PNG[:-5])
    for kept in (len(large) - 1, len(large) - 2, len(large) // 2):
        (tmp_path / "cut.jpg").write_bytes(large[:kept])
        assert ends_early(large[:kept])
        ours, opencv = decode(large[:kept]), cv2.imread(str(tmp_path / "cut.jpg"))
        assert ours is not None and opencv is not None and (ours == opencv).all()


def test_pixels_are_those_saved(tmp_path: Path) -> None:
    file = tmp_path / "größe 图.png"
    file.write_bytes(PNG)
    assert (read_image(file, (40, 20)) == noise(40, 20)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read this image: No such file or directory"),
        (b"", "this image cannot be decoded: the file is damaged after its header"),
        (PNG[:33] + PNG[-12:], "this image cannot be decoded: the file is damaged after its header"),
        (encoded(".png", 41, 20), "this image is 41 x 20 px, but its header says 40 x 20"),
    ],
)
def test_an_image_that_changed_is_an_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "a.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_image(file, (40, 20))
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.message, fault.path) == ("D405", message, str(file))


@pytest.mark.parametrize("folder", ["coco128", "coco_val"])
def test_headers_of_real_images_agree_with_their_pixels(shared: Path, folder: str) -> None:
    files = sorted((shared / "data" / folder / "images").rglob("*.jpg"))
    assert len(files) == {"coco128": 128, "coco_val": 250}[folder]
    for file in files:
        assert displayed_size(file.read_bytes()) == decoded_size(file.read_bytes()), file
