"""COCO annotations are read in every form that tools write, and refused with the place that is wrong."""

import json
import tracemalloc
from pathlib import Path

import pytest

from compressor.errors import DatasetError
from compressor.evaluation.coco_file import read_instances

GOOD = {
    "info": {"x": [1, {"y": "\u00e9"}]},
    "annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, 2.5, "3", 4], "area": "12", "iscrowd": "1"}],
    "images": [{"id": 1, "file_name": "d\\a.jpg", "width": 20, "height": 10}, {"id": "b", "file_name": "b.jpg"}],
    "categories": [{"id": "2", "name": "cat"}],
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("indent", [None, 1])
def test_encodings_blanks_order_and_numbers_as_text_do_not_matter(
    tmp_path: Path, encoding: str, indent: int | None
) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(json.dumps(GOOD, indent=indent, ensure_ascii=False).encode(encoding))
    found = read_instances(file)
    assert [(each.id, each.file_name, each.size) for each in found.images] == [
        (1, "d/a.jpg", (20, 10)),
        ("b", "b.jpg", None),
    ]
    assert [vars(each) for each in found.categories] == [{"id": 2, "name": "cat"}]
    assert (found.image_of.tolist(), found.category_ids.tolist()) == ([0], [2])
    assert (found.boxes.tolist(), found.areas.tolist(), found.crowds.tolist()) == ([[1, 2.5, 3, 4]], [12], [True])


def annotation(text: str) -> str:
    return f'{{"images": [], "categories": [], "annotations": [{{"image_id": 1, "category_id": 1, {text}}}]}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ":1:2: D408 not valid JSON: "),
        ("", ": D408 the document is not a mapping"),
        ('[{"image_id": 1}]', ": D408 the document is not a mapping; a bare list is the format of predictions"),
        ('{"images": [],\n "annotations": [}', ":2:18: D408 not valid JSON: Expecting value"),
        ('{"images": [], "annotations": []} x', ":1:35: D408 not valid JSON: something follows the document"),
        ('{"images": [], "images": []}', ": D408 the key 'images' is given twice"),
        ('{"images": {}}', ": D408 images must be a list"),
        ('{"images": [], "annotations": []}', ": D408 the list 'categories' is missing"),
        ('{"images": [7]}', ": D408 images[0] must be a mapping, got 7"),
        ('{"images": [{"file_name": "a"}]}', ": D408 images[0].id must be a whole number or text, got nothing"),
        ('{"images": [{"id": 1, "file_name": 1}]}', ": D408 images[0].file_name must be text, got 1"),
        (
            '{"categories": [{"id": "x", "name": "a"}]}',
            ": D408 categories[0].id must be a whole number, got the text 'x'",
        ),
        ('{"categories": [{"id": 1}]}', ": D408 categories[0].name must be text, got nothing"),
        (
            '{"annotations": [{"category_id": 1}]}',
            ": D408 annotations[0].image_id must be a whole number or text, got n",
        ),
        ('{"annotations": [{"image_id": 1}]}', ": D408 annotations[0].category_id must be a whole number, got nothing"),
        (
            annotation(f'"category_id": {10**30}'),
            ": D408 annotations[0].category_id must be a whole number of at most 18",
        ),
        (
            annotation('"bbox": [1, 2, 3]'),
            ": D408 annotations[0].bbox must be four finite numbers: left, top, width and",
        ),
        (annotation('"bbox": [1, NaN, 3, 4]'), ": D408 annotations[0].bbox[1] must be a finite number, got nan"),
        (
            annotation('"bbox": [1, [2], 3, 4]'),
            ": D408 annotations[0].bbox[1] must be a finite number, got a list of 1",
        ),
        (
            annotation(f'"bbox": [1, 2, 3, {10**400}]'),
            ": D408 annotations[0].bbox[3] must be a finite number, got 1000",
        ),
        (annotation('"area": Infinity'), ": D408 annotations[0].area must be a finite number, got inf"),
        (annotation('"iscrowd": {}'), ": D408 annotations[0].iscrowd must be a whole number, got a mapping"),
        (annotation(f'"x": {"[" * 100_000}'), ": D408 not valid JSON: brackets nested too deep"),
        (annotation(f'"x": {"9" * 5000}'), ": D408 "),
        (None, ": D408 the annotations cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "instances.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DatasetError) as error:
        read_instances(file)
    assert str(error.value).startswith(f"{file}{message}")
    assert "\n  help: the file must be COCO instances JSON" in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"x": "\xff"}')
    with pytest.raises(DatasetError, match="D408 the file is not text\n  help: save it as UTF-8"):
        read_instances(tmp_path / "a.json")


def test_reading_takes_a_few_times_the_memory_of_the_text(tmp_path: Path) -> None:
    """An image may hold a million annotations; as Python's own objects each takes ten times its text."""
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.5, 2.5, 3.5, 4.5], "area": 15.75, "iscrowd": 0}
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"images": [{"id": 1}], "annotations": [one] * 4_000, "categories": []}))
    read_instances(file)  # what is imported on first use does not count
    tracemalloc.start()
    found = read_instances(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.areas) == 4_000
    assert peak < 3 * file.stat().st_size
