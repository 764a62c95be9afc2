import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features

from compressor.data.dataset import load_dataset, read_split
from compressor.data.image_kind import is_taken, kind_left_out
from tests.data.images import noise, write_image

TAKEN = ("jpeg", "png", "bmp", "tiff", "webp", "mpo")
UPSTREAM = {"bmp", "dng", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp", "pfm"}  # of what Pillow calls a format


def by_pillow(kind: str) -> bytes:
    target = io.BytesIO()
    Image.fromarray(noise(32, 24)).save(target, kind)
    return target.getvalue()


def by_opencv(ending: str) -> bytes:
    picture = noise(32, 24)
    done, content = cv2.imencode(ending, picture.astype(np.float32) if ending in (".hdr", ".pfm") else picture)
    assert done
    return content.tobytes()


LEFT_OUT = {
    "GIF": by_pillow("gif"),
    "JPEG 2000": by_pillow("jpeg2000"),
    "PPM": by_pillow("ppm"),
    "PFM": by_opencv(".pfm"),
    "Radiance HDR": by_opencv(".hdr"),
    "Sun raster": by_opencv(".ras"),
    **({"AVIF": by_pillow("avif")} if features.check("avif") else {}),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_upstream_takes_is_taken(kind: str) -> None:
    content = by_pillow(kind)
    assert is_taken(content) and kind_left_out(content) is None
    with Image.open(io.BytesIO(content)) as opened:
        assert (opened.format or "").lower() in UPSTREAM


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_upstream_leaves_out_is_known_by_its_content(kind: str) -> None:
    assert kind_left_out(LEFT_OUT[kind]) == kind and not is_taken(LEFT_OUT[kind])
    try:
        with Image.open(io.BytesIO(LEFT_OUT[kind])) as opened:
            known = (opened.format or "").lower() in UPSTREAM
    except OSError:  # Pillow, by which upstream goes, knows it not
        known = False
    assert not known


def test_images_of_other_kinds_under_an_allowed_ending_are_left_out_by_name(tmp_path: Path) -> None:
    write_image(tmp_path / "images/good.png")
    for number, content in enumerate(LEFT_OUT.values()):
        (tmp_path / f"images/odd{number}.jpg").write_bytes(content)
    (tmp_path / "d.yaml").write_text("path: .\nval: images\nnames: [a]\n")
    split = read_split(load_dataset(str(tmp_path / "d.yaml")), "val")
    assert [sample.image.name for sample in split.samples] == ["good.png"]
    for number, kind in enumerate(LEFT_OUT):
        told = (
            f"odd{number}.jpg: left out, its content is {kind}, which YOLOv5 leaves out whatever the file's ending is"
        )
        assert sum(sentence.endswith(told) for sentence in split.skipped) == 1
