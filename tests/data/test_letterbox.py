import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.letterbox import Image, Rounding, letterbox, resize_to_fit
from tests.oracles.vectors import LETTERBOX, committed, pixels

sides = st.integers(1, 90)


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def test_letterbox_equals_upstream(golden: Path) -> None:
    cases = json.loads((golden / "data.json").read_text())["letterbox"]
    padded_only = [case for case in cases if not (case["auto"] or case["scaleFill"] or case["scaleup"])]
    assert len(padded_only) == 5
    for case in padded_only:
        shape = case["new_shape"] if isinstance(case["new_shape"], list) else [case["new_shape"]] * 2
        padded, pad = letterbox(noise(case["shape_hw"][0], case["shape_hw"][1], case["seed"]), (shape[0], shape[1]))
        assert list(padded.shape) == case["out_shape"]
        assert list(pad) == case["pad_wh"]
        assert zlib.crc32(padded.tobytes()) == case["crc32"], case


@pytest.mark.parametrize("case", LETTERBOX)
def test_letterbox_equals_the_committed_vectors(case: str) -> None:
    vectors, (size, shape) = committed("letterbox"), LETTERBOX[case]
    padded, pad = letterbox(pixels(list(LETTERBOX).index(case), *size), shape)
    assert list(pad) == vectors[f"{case}.pad"].tolist()
    assert np.array_equal(padded, vectors[f"{case}.padded"])


@given(sides, sides, sides, sides)
def test_an_image_that_fits_is_only_padded(height: int, width: int, more_rows: int, more_columns: int) -> None:
    image = noise(height, width)
    padded, (dw, dh) = letterbox(image, (height + more_rows, width + more_columns))
    top, left = round(dh - 0.1), round(dw - 0.1)
    assert padded.shape == (height + more_rows, width + more_columns, 3)
    assert (2 * dw, 2 * dh) == (more_columns, more_rows)
    assert np.array_equal(padded[top : top + height, left : left + width], image)
    padded[top : top + height, left : left + width] = 114
    assert (padded == 114).all()


@given(sides, sides, sides, sides)
def test_the_rectangle_is_always_filled(height: int, width: int, rows: int, columns: int) -> None:
    padded, (dw, dh) = letterbox(noise(height, width), (rows, columns))
    assert padded.shape == (rows, columns, 3)
    assert dw >= 0 and dh >= 0


@pytest.mark.parametrize(
    ("height", "width", "rounding", "shape"),
    [
        (480, 640, "floor", (480, 640)),
        (361, 640, "floor", (361, 640)),
        (376, 500, "floor", (481, 640)),
        (376, 500, "ceil", (482, 640)),
        (500, 333, "floor", (640, 426)),
        (500, 333, "ceil", (640, 427)),
        (1280, 2, "floor", (640, 1)),
        (3000, 1, "floor", (640, 1)),
    ],
)
def test_the_longer_side_fits(height: int, width: int, rounding: Rounding, shape: tuple[int, int]) -> None:
    assert resize_to_fit(noise(height, width), 640, rounding).shape[:2] == shape


def test_shrinking_averages_and_enlarging_interpolates() -> None:
    image = noise(64, 64)
    blocks = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize_to_fit(image, 32, "floor").astype(float) - blocks).max() <= 0.5
    step = np.zeros((2, 2, 3), np.uint8)
    step[:, 1] = 200
    assert resize_to_fit(step, 4, "floor")[0, :, 0].tolist() == [0, 50, 150, 200]
