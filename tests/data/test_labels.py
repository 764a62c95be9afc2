from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.labels import label_path, parse_labels


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("/data/coco/images/val2017/000001.jpg", "/data/coco/labels/val2017/000001.txt"),
        ("images/a.b.jpeg", "labels/a.b.txt"),
        ("/images/x/images/a.png", "/images/x/labels/a.png".replace(".png", ".txt")),
        ("/data/my_images/a.png", "/data/my_images/a.txt"),
        ("/data/images", "/data/images.txt"),
    ],
)
def test_the_label_file_of_an_image(image: str, labels: str) -> None:
    assert label_path(PurePosixPath(image)) == PurePosixPath(labels)


def test_the_label_file_of_an_image_on_windows() -> None:
    image = PureWindowsPath(r"C:\images\coco\images\val2017\1.jpg")
    assert label_path(image) == PureWindowsPath(r"C:\images\coco\labels\val2017\1.txt")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \r\n", b"\xef\xbb\xbf"])
def test_nothing_written_is_a_background(content: bytes) -> None:
    labels, repeated = parse_labels(content, 80)
    assert labels.shape == (0, 5) and labels.dtype == np.float32 and repeated == 0


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf1 0.5 0.25 1 0.5", b"\r\n1\t0.5  0.25 1.0 5e-1\r\n\r\n"])
def test_bom_line_ends_and_blanks_do_not_matter(content: bytes) -> None:
    assert parse_labels(content, 2)[0].tolist() == [[1, 0.5, 0.25, 1, 0.5]]


def test_without_repeats_the_order_of_the_file_stays() -> None:
    labels, repeated = parse_labels(b"7 .5 .5 .1 .1\n3 .5 .5 .1 .1\n", 80)
    assert labels[:, 0].tolist() == [7, 3] and repeated == 0


def test_repeats_are_dropped_and_the_rest_is_in_ascending_order() -> None:
    labels, repeated = parse_labels(b"7 .5 .5 .1 .1\n3 .5 .5 .25 .1\n7 .5 .5 .1 .1\n3 .5 .5 .125 .1\n", 80)
    assert labels[:, [0, 3]].tolist() == [[3, 0.125], [3, 0.25], [7, np.float32(0.1)]]
    assert repeated == 1


def test_one_polygon_makes_all_lines_polygons() -> None:
    labels, _ = parse_labels(b"1 .25 .25 .75 .25 .5 1\n2 0 0 .5 .25\n", 80)
    assert labels.tolist() == [[1, 0.5, 0.625, 0.5, 0.75], [2, 0.25, 0.125, 0.5, 0.25]]


FAULTS = [
    (b"0 .5 .5 .1", "line 1: a box needs 5 values (class, x, y, width, height), got 4"),
    (b"0 .5 .5 .1 .1\n0 .5 .5 .1 .1 .9", "line 2: a box needs 5 values (class, x, y, width, height), got 6"),
    (b"\n\nperson .5 .5 .1 .1", "line 3: 'person' is not a number"),
    (b"0,.5,.5,.1,.1", "line 1: '0,.5,.5,.1,.1' is not a number"),
    (b"0 .5 .5 .1 .1\n0 nan .5 .1 .1", "line 2: every value must be a finite number"),
    (b"0 .5 inf .1 .1", "line 1: every value must be a finite number"),
    (b"0 .5 .5 .1 .1\n\n0 .5 -.5 .1 .1", "line 3: a value is below 0"),
    (b"-1 .5 .5 .1 .1", "line 1: a value is below 0"),
    (b"0 320 240 64 64", "line 1: a coordinate is above 1; coordinates are fractions of the image's size"),
    (b"0.5 .5 .5 .1 .1", "line 1: the class must be a whole number"),
    (b"79 .5 .5 .1 .1\n80 .5 .5 .1 .1", "line 2: the data set has only 80 classes, counted from 0"),
    (b"0 .1 .1 .2 .2 .3 .3 .4", "line 1: a polygon needs a class and pairs of x and y, got 8 values"),
    (b"0 .1 .1 .2 .2 .3 .3\n0", "line 2: a polygon needs a class and pairs of x and y, got 1 values"),
    (b"\xff\xfe0\x00", "the file is not text"),
]


@pytest.mark.parametrize(("content", "reason"), FAULTS)
def test_every_fault_names_its_line(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_labels(content, 80)
    assert str(caught.value) == reason


fractions = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(st.integers(0, 79), fractions, fractions, fractions, fractions), unique=True))
def test_written_labels_are_read_exactly(rows: list[tuple[float, ...]]) -> None:
    text = "\n".join(" ".join(map(repr, row)) for row in rows)
    labels, repeated = parse_labels(text.encode(), 80)
    assert labels.tolist() == [list(row) for row in rows] and repeated == 0
