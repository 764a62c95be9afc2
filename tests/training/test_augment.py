from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from compressor.training.augment import (
    AugmentSettings,
    Example,
    augment,
    flip_left_right,
    flip_up_down,
    mixup,
    mosaic,
    pad_to_square,
    random_perspective,
    scale_hsv,
    transform_boxes,
)

SIZE = 64
STILL = AugmentSettings(hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, fliplr=0, mosaic=0)


def example(seed: int = 0, width: int = SIZE, height: int = 48) -> Example:
    """Noise below 200 with two bright rectangles, which are the objects."""
    image = np.random.default_rng(seed).integers(0, 200, (height, width, 3)).astype(np.uint8)
    boxes = np.array([[4.0, 6.0, 24.0, 20.0], [30.0, 10.0, 58.0, 44.0]])
    for x1, y1, x2, y2 in boxes.astype(int):
        image[y1:y2, x1:x2] = 255
    return Example(image, np.array([0, 2]), boxes)


def bright_extent(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[int]:
    rows, columns = np.nonzero((image > 250).all(axis=2))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("flip", [flip_left_right, flip_up_down])
def test_flipping_twice_is_identity_and_once_moves_the_boxes_with_the_pixels(
    flip: Callable[[Example], Example],
) -> None:
    once = flip(example())
    twice = flip(once)
    assert np.array_equal(twice.image, example().image)
    assert np.allclose(twice.boxes, example().boxes)
    for x1, y1, x2, y2 in once.boxes.astype(int):
        assert (once.image[y1:y2, x1:x2] == 255).all()


def test_mosaic_puts_four_images_around_the_centre_with_their_boxes() -> None:
    canvas = mosaic([example(seed) for seed in range(4)], SIZE, (70, 60))
    assert canvas.image.shape == (2 * SIZE, 2 * SIZE, 3)
    assert canvas.classes.tolist() == [0, 2] * 4
    assert np.array_equal(canvas.image[12:60, 6:70], example(0).image)
    assert np.array_equal(canvas.image[12:60, 70:128], example(1).image[:, :58])
    assert np.array_equal(canvas.image[60:108, 6:70], example(2).image)
    assert (canvas.image[:12] == 114).all()
    for x1, y1, x2, y2 in canvas.boxes.astype(int):
        assert (canvas.image[y1:y2, x1:x2] == 255).all()


def test_perspective_without_ranges_leaves_a_square_alone() -> None:
    square = pad_to_square(example(), SIZE)
    moved = random_perspective(square, STILL, SIZE, np.random.default_rng(0))
    assert np.array_equal(moved.image, square.image)
    assert np.allclose(moved.boxes, square.boxes)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_follow_the_pixels_through_a_perspective(seed: int) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[60:140, 80:130] = 255
    one = Example(image, np.array([1]), np.array([[80.0, 60.0, 130.0, 140.0]]))
    settings = replace(STILL, degrees=20, scale=0.2, shear=5, translate=0.05, perspective=0.0005)
    moved = random_perspective(one, settings, 200, np.random.default_rng(seed))
    assert moved.boxes[0] == pytest.approx(bright_extent(moved.image), abs=2)


def test_a_box_pushed_out_of_the_image_is_dropped() -> None:
    far = Example(np.zeros((200, 200, 3), np.uint8), np.array([0, 1]), np.array([[0.0, 0, 20, 20], [90, 90, 110, 110]]))
    kept = random_perspective(far, STILL, 100, np.random.default_rng(0))  # the middle 100 px stay
    assert kept.classes.tolist() == [1]
    assert np.allclose(kept.boxes, [[40, 40, 60, 60]])


def test_transform_boxes_takes_the_upright_hull_of_the_corners() -> None:
    quarter_turn = np.array([[0.0, -1, 100], [1, 0, 0], [0, 0, 1]])
    assert np.allclose(transform_boxes(np.array([[10.0, 20, 30, 60]]), quarter_turn, 100), [[40, 10, 80, 30]])


def test_hsv_gains_of_one_keep_grey_and_value_gains_darken() -> None:
    grey = np.full((4, 4, 3), 120, np.uint8)
    assert np.array_equal(scale_hsv(grey, np.ones(3)), grey)
    assert np.array_equal(scale_hsv(grey, np.array([1, 1, 0.5])), np.full((4, 4, 3), 60, np.uint8))


def test_mixup_blends_pixels_and_keeps_both_sets_of_boxes() -> None:
    black = Example(np.zeros((8, 8, 3), np.uint8), np.array([0]), np.array([[1.0, 1, 4, 4]]))
    white = Example(np.full((8, 8, 3), 200, np.uint8), np.array([1]), np.array([[2.0, 2, 6, 6]]))
    mixed = mixup(white, black, 0.25)
    assert (mixed.image == 50).all()
    assert mixed.classes.tolist() == [1, 0]
    assert np.allclose(mixed.boxes, [[2, 2, 6, 6], [1, 1, 4, 4]])


@pytest.mark.parametrize("seed", range(8))
def test_augmented_boxes_stay_in_the_image_and_the_seed_decides_everything(seed: int) -> None:
    settings = AugmentSettings(degrees=10, shear=5, perspective=0.0005, flipud=0.5, mosaic=0.7, mixup=0.5)
    first, second = (augment(1, 6, example, settings, SIZE, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert first.image.shape == (SIZE, SIZE, 3)
    assert len(first.classes) == len(first.boxes)
    assert (first.boxes >= 0).all()
    assert (first.boxes <= SIZE).all()
    assert (first.boxes[:, 2:] - first.boxes[:, :2] > 2).all()
