"""Every object of COCO annotations is evaluated, or counted and named, or the file is refused."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.data.dataset import Sample
from compressor.errors import DatasetError
from compressor.evaluation.annotated import boxes_as_labels, ground_truth_from_annotations
from compressor.evaluation.coco import COCO_CATEGORY_IDS, COCO_NAMES, GroundTruth
from compressor.results.evaluation import NotEvaluated, ObjectCount
from tests.evaluation.test_coco import NAMES, ap_of, sample


def annotations_file(folder: Path, **changes: Any) -> Path:
    """Two images with a cat and a dog each, in COCO's format."""
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "val/b.jpg"}],
        "annotations": [
            {"id": 0, "image_id": 7, "category_id": 0, "bbox": [10, 10, 50, 40], "area": 1500.5, "iscrowd": 0},
            {"id": 1, "image_id": 9, "category_id": 5, "bbox": [20, 10, 50, 40], "area": 2000, "iscrowd": 0},
        ],
        "categories": [{"id": 0, "name": "Cat"}, {"id": 5, "name": "dog"}],
        **changes,
    }
    file = folder / "annotations.json"
    file.write_text(json.dumps(content))
    return file


def test_ground_truth_from_annotations(tmp_path: Path) -> None:
    file = annotations_file(tmp_path)
    truth = ground_truth_from_annotations(file, [sample("images/b.jpg"), sample("images/a.jpg")], ("dog", "cat"))
    assert truth.image_ids == (9, 7)
    assert truth.category_ids == (5, 0)
    assert not truth.official
    first = {"id": 1, "image_id": 7, "category_id": 0, "bbox": [10, 10, 50, 40], "area": 1500.5, "iscrowd": 0}
    assert truth.annotations[0] == first  # pycocotools would take annotation id 0 for unmatched
    assert ap_of(truth, [[20, 10, 70, 50, 0.5, 0]], [[10, 10, 60, 50, 0.5, 1]]) == 1  # category id 0 counts


def test_only_the_samples_are_evaluated(tmp_path: Path) -> None:
    truth = ground_truth_from_annotations(annotations_file(tmp_path), [sample("b.jpg")], NAMES)
    assert [image["id"] for image in truth.images] == [9]
    assert ap_of(truth, [[20, 10, 70, 50, 0.5, 1]]) == 1


def test_crowds_are_not_missed_and_not_found(tmp_path: Path) -> None:
    crowd = {"id": 3, "image_id": 7, "category_id": 0, "bbox": [100, 0, 90, 90], "area": 8100, "iscrowd": 1}
    cat = {"id": 4, "image_id": 7, "category_id": 0, "bbox": [10, 10, 50, 40], "area": 2000}
    file = annotations_file(tmp_path, annotations=[crowd, cat])
    truth = ground_truth_from_annotations(file, [sample("a.jpg")], NAMES)
    inside, right = [110.0, 10.0, 130.0, 30.0, 0.9, 0.0], [10.0, 10.0, 60.0, 50.0, 0.5, 0.0]
    assert ap_of(truth, [right]) == ap_of(truth, [inside, right]) == 1
    ordinary = ground_truth_from_annotations(annotations_file(tmp_path, annotations=[cat]), [sample("a.jpg")], NAMES)
    assert ap_of(ordinary, [inside, right]) == 0.5


def test_images_are_found_by_name_folder_or_number(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "x\\c.jpg"}, {"id": 2, "file_name": "s/d.jpg"}, {"id": 3, "file_name": "t\\d.jpg"}]
    file = annotations_file(tmp_path, images=[*images, {"id": 44, "file_name": "44.png"}], annotations=[])
    samples = [sample("r/c.jpg"), sample("r/t/d.jpg"), sample("r/s/d.jpg"), sample("r/000044.jpg")]
    assert ground_truth_from_annotations(file, samples, NAMES).image_ids == (1, 3, 2, 44)


def test_images_without_a_record_are_named(tmp_path: Path) -> None:
    samples = [sample(f"{letter}.jpg") for letter in "abcdefg"]
    with pytest.raises(DatasetError) as error:
        ground_truth_from_annotations(annotations_file(tmp_path), samples, NAMES)
    assert str(error.value) == (
        f"{tmp_path}/annotations.json: D406 5 of 7 images have no record of their own here: "
        "c.jpg, d.jpg, e.jpg and 2 more\n"
        "  help: add a record with the image's file_name, or take the image out of the data set"
    )


def test_images_that_share_a_record_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"D406 a\.jpg, a\.jpg are the same image"):
        ground_truth_from_annotations(annotations_file(tmp_path), [sample("x/a.jpg"), sample("y/a.jpg")], NAMES)


def test_a_class_without_a_category_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        ground_truth_from_annotations(annotations_file(tmp_path), [sample("a.jpg")], ("cat", "dogs", "zebra"))
    codes = [(diagnostic.code, diagnostic.message, diagnostic.help) for diagnostic in error.value.diagnostics]
    assert codes == [
        ("D407", "the class 'dogs' has no category in this file", "did you mean 'dog'?"),
        ("D407", "the class 'zebra' has no category in this file", "the file's categories are Cat, dog"),
    ]


def test_an_empty_category_of_the_same_name_is_passed_over(tmp_path: Path) -> None:
    categories = [{"id": 5, "name": "dog"}, {"id": 0, "name": "cat"}, {"id": 8, "name": "dog"}]
    file = annotations_file(tmp_path, categories=categories)
    assert ground_truth_from_annotations(file, [sample("a.jpg")], NAMES).category_ids == (0, 5)
    file = annotations_file(tmp_path, categories=[{"id": 0, "name": "dog"}, {"id": 5, "name": "dog"}])
    with pytest.raises(DatasetError, match="D407 several categories with objects are called dog"):
        ground_truth_from_annotations(file, [sample("a.jpg")], ("dog",))


def test_cocos_categories_are_matched_by_position_under_other_names(tmp_path: Path) -> None:
    categories = [{"id": number, "name": name} for number, name in zip(COCO_CATEGORY_IDS, COCO_NAMES, strict=True)]
    file = annotations_file(tmp_path, categories=categories, annotations=[])
    other = tuple("motorbike" if name == "motorcycle" else name for name in COCO_NAMES)
    note = (
        "1 of the 80 class names differ from those of the annotations: they are matched to COCO's classes by position, "
        "'motorbike' as 'motorcycle'"
    )
    for names in (COCO_NAMES, other):
        truth = ground_truth_from_annotations(file, [sample("a.jpg")], names)
        assert truth.category_ids == COCO_CATEGORY_IDS
        assert truth.official
        assert truth.notes == (() if names == COCO_NAMES else (note,))
    with pytest.raises(DatasetError, match="the class 'motorbike' has no category"):  # place and name disagree
        ground_truth_from_annotations(file, [sample("a.jpg")], tuple(sorted(other)))
    by_name = ground_truth_from_annotations(file, [sample("a.jpg")], tuple(sorted(COCO_NAMES)))
    assert by_name.category_ids[0] == 5  # airplane


CAT = {"image_id": 7, "category_id": 0, "bbox": [10, 10, 50, 40], "area": 2000, "iscrowd": 0}
FOUND = [10.0, 10.0, 60.0, 50.0, 0.9, 0.0]


def truth_of(folder: Path, annotations: list[dict[str, Any]], **changes: Any) -> GroundTruth:
    """Of the image a.jpg alone."""
    file = annotations_file(folder, annotations=annotations, **changes)
    return ground_truth_from_annotations(file, [sample("a.jpg")], NAMES)


def test_an_image_named_by_a_number_does_not_take_the_record_of_another_file(tmp_path: Path) -> None:
    images = [{"id": 2, "file_name": "frame_1.PNG"}, {"id": 1, "file_name": "frame_3.PNG"}]
    file = annotations_file(tmp_path, images=images, annotations=[])
    with pytest.raises(DatasetError) as error:
        ground_truth_from_annotations(file, [sample("1.png")], NAMES)
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (
        "D406",
        "1 of 1 images have no record of their own here: 1.png; the record with the id 1 names frame_3.PNG",
    )


@pytest.mark.parametrize(
    "record", [{"id": 12}, {"id": 12, "file_name": None}, {"id": "12", "file_name": "x/000012.png"}]
)
def test_a_record_that_names_no_file_or_the_same_number_is_found_by_its_id(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    file = annotations_file(tmp_path, images=[record], annotations=[{**CAT, "image_id": 12}])
    truth = ground_truth_from_annotations(file, [sample("0012.jpg")], NAMES)
    assert truth.image_ids == (record["id"],)
    assert ap_of(truth, [FOUND]) == 1


def test_the_record_of_another_file_that_is_there_is_not_taken(tmp_path: Path) -> None:
    """Of images of one name in several folders, the annotations may tell of one only."""
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").touch()
    file = annotations_file(tmp_path, images=[{"id": 7, "file_name": "train/a.jpg"}], annotations=[CAT])
    with pytest.raises(
        DatasetError, match=r"D406 1 of 1 images .* here: a\.jpg; .* closest record to a\.jpg names train/a\.jpg"
    ):
        ground_truth_from_annotations(file, [sample(str(tmp_path / "val/a.jpg"))], NAMES)
    assert len(ground_truth_from_annotations(file, [sample(str(tmp_path / "train/a.jpg"))], NAMES).objects) == 1
    (tmp_path / "train/a.jpg").unlink()  # a path of another machine, then
    assert len(ground_truth_from_annotations(file, [sample(str(tmp_path / "val/a.jpg"))], NAMES).objects) == 1


@pytest.mark.parametrize(("in_images", "in_annotations"), [(7, "7"), ("7", 7), (7.0, 7), ("7", "7")])
def test_ids_are_the_same_as_number_and_as_text(tmp_path: Path, in_images: Any, in_annotations: Any) -> None:
    images = [{"id": in_images, "file_name": "a.jpg"}]
    truth = truth_of(tmp_path, [{**CAT, "image_id": in_annotations, "category_id": "0"}], images=images)
    assert truth.image_ids == (in_images,)  # as predictions are to name it
    assert truth.not_evaluated == ()
    assert ap_of(truth, [FOUND]) == 1


def test_ids_that_differ_as_text_are_not_the_same(tmp_path: Path) -> None:
    images = [{"id": "07", "file_name": "a.jpg"}, {"id": "7", "file_name": "b.jpg"}]
    truth = truth_of(tmp_path, [{**CAT, "image_id": "07"}], images=images)
    assert len(truth.objects) == 1


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "\u00e9.jpg") for form in ("NFC", "NFD"))
    assert composed != apart
    for on_disk, in_file in ((composed, apart), (apart, composed)):
        file = annotations_file(tmp_path, images=[{"id": 7, "file_name": in_file}], annotations=[CAT])
        assert ground_truth_from_annotations(file, [sample(on_disk)], NAMES).image_ids == (7,)


def test_every_object_is_evaluated_or_counted_by_its_reason_and_category(tmp_path: Path) -> None:
    annotations = [
        CAT,
        {**CAT, "image_id": 99},
        {**CAT, "image_id": "x", "category_id": 5},
        {**CAT, "image_id": 9, "category_id": 5},
        {**CAT, "image_id": 8, "category_id": 5},
        *[{**CAT, "category_id": 3}] * 2,
        {**CAT, "category_id": 77},
        {**CAT, "bbox": []},
        {**CAT, "bbox": None},
        {"image_id": 7, "category_id": 5, "area": 3},
        {**CAT, "iscrowd": 1},
    ]
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "c.jpg"}, {"id": 9, "file_name": "val/b.jpg"}]
    categories = [{"id": 0, "name": "cat"}, {"id": 3, "name": "pentagon"}, {"id": 5, "name": "dog"}]
    file = annotations_file(tmp_path, annotations=annotations, images=images, categories=categories)
    truth = ground_truth_from_annotations(file, [sample("a.jpg")], NAMES, [Path("c.jpg"), Path("unknown.jpg")])
    assert truth.not_evaluated == (
        NotEvaluated(
            "image unknown", 2, (ObjectCount("cat", 1), ObjectCount("dog", 1)), ("image_id 99", "image_id 'x'")
        ),
        NotEvaluated("image not in split", 1, (ObjectCount("dog", 1),), ("val/b.jpg",)),
        NotEvaluated("image left out", 1, (ObjectCount("dog", 1),), ("c.jpg",)),
        NotEvaluated("category unknown", 1, (ObjectCount("category 77", 1),)),
        NotEvaluated("category not a class", 2, (ObjectCount("pentagon", 2),)),
        NotEvaluated("no box", 3, (ObjectCount("cat", 2), ObjectCount("dog", 1)), ("a.jpg",)),
    )
    assert len(truth.objects) + sum(each.objects for each in truth.not_evaluated) == len(annotations)
    assert str(truth.not_evaluated[-1]) == (
        "3 objects not evaluated because the annotation has no box (cat 2, dog 1; a.jpg)"
    )
    assert ap_of(truth, [FOUND]) == 1


def test_missing_areas_are_those_of_the_boxes_and_reported(tmp_path: Path) -> None:
    untold = {key: value for key, value in CAT.items() if key != "area"}
    truth = truth_of(tmp_path, [{**CAT, "area": 1}, untold, {**untold, "area": None, "iscrowd": None}])
    assert truth.objects.areas.tolist() == [1, 2000, 2000]
    assert truth.objects.crowds.tolist() == [False] * 3
    assert [note[:30] for note in truth.notes] == ["2 annotations have no area: wi"]


def test_boxes_that_nothing_can_match_count_as_missed_and_are_reported(tmp_path: Path) -> None:
    """As to pycocotools, whose figures these are."""
    flat, outside = {**CAT, "bbox": [10, 10, 0, 40]}, {**CAT, "bbox": [300, 10, 50, 40]}
    truth = truth_of(tmp_path, [CAT, flat, outside])
    assert ap_of(truth, [FOUND]) == pytest.approx(34 / 101)  # one of three: recall 0 to 0.33
    assert truth.notes == (
        "1 boxes have no width or no height (a.jpg): no detection can match them, so they are missed",
        "1 boxes lie outside of their images (a.jpg): no detection can match them, so they are missed",
    )


def test_a_record_of_another_size_is_reported(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}]
    assert truth_of(tmp_path, [CAT], images=images).notes == ()
    (note,) = truth_of(tmp_path, [CAT], images=[{**images[0], "width": 400, "height": 200}]).notes
    assert "first a.jpg is 200 x 100 px, its record says 400 x 200" in note


@pytest.mark.parametrize(
    ("changes", "names", "message"),
    [
        (
            {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": "7", "file_name": "b.jpg"}]},
            NAMES,
            "D406 several images have",
        ),
        ({"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}]}, NAMES, "D406 1 of 1 images"),
        ({"categories": [{"id": 0, "name": "cat"}, {"id": 0, "name": "dog"}]}, NAMES, "D407 the classes cat, dog have"),
        (
            {"categories": [{"id": 0, "name": "cat"}, {"id": 0, "name": "dog"}]},
            ("cat",),
            "D407 the categories cat, dog",
        ),
        ({"categories": [{"id": 0, "name": "cat"}]}, ("cat", "Cat "), "D407 the classes cat, Cat  have the same"),
    ],
)
def test_what_could_be_either_of_two_is_refused(
    tmp_path: Path, changes: dict[str, Any], names: tuple[str, ...], message: str
) -> None:
    file = annotations_file(tmp_path, annotations=[CAT], **changes)
    with pytest.raises(DatasetError, match=message):
        ground_truth_from_annotations(file, [sample("a.jpg")], names)


def test_two_records_that_name_one_image_are_both_named(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}, {"id": 9, "file_name": "B.jpg"}]
    file = annotations_file(tmp_path, images=images, annotations=[CAT])
    with pytest.raises(DatasetError) as error:
        ground_truth_from_annotations(file, [sample("in/b.jpg"), sample("in/a.jpg")], NAMES)
    (diagnostic,) = error.value.diagnostics
    message = "2 of 2 images have no record of their own here: b.jpg, a.jpg; 2 records name a.jpg, with the ids 7, 8"
    assert (diagnostic.code, diagnostic.message) == ("D406", message)
    assert diagnostic.help == "list every image once: take the other records out, or correct their file_name"


def test_boxes_that_are_fractions_of_the_image_are_refused(tmp_path: Path) -> None:
    fractions = [{**CAT, "bbox": [0.5, 0.25, 0.5, 0.75]}, {**CAT, "bbox": [0, 0, 1, 1.0001]}, {**CAT, "bbox": []}]
    with pytest.raises(DatasetError) as error:
        truth_of(tmp_path, fractions)
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (
        "D408",
        "the boxes look like fractions of the image's size: all 2 lie within 0 and 1, first [0.5, 0.25, 0.5, 0.75], "
        "and COCO's boxes are in pixels",
    )
    assert "multiply left and width of every bbox by the image's width" in str(diagnostic.help)
    assert len(truth_of(tmp_path, [*fractions, CAT]).objects) == 3  # one box of pixels is enough
    assert len(truth_of(tmp_path, [{**CAT, "bbox": [0, 0, 0, 0]}]).objects) == 1  # it has no size at all
    file = annotations_file(tmp_path, annotations=fractions)
    tiny = sample("a.jpg", width=4, height=4)
    assert len(ground_truth_from_annotations(file, [tiny], NAMES).objects) == 2


def test_a_record_that_is_listed_again_does_not_matter(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a.jpg"}] * 2
    assert len(truth_of(tmp_path, [CAT], images=images).objects) == 1


def test_case_and_blanks_of_names_do_not_matter(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": " fire  Hydrant"}, {"id": 5, "name": "caf\u00e9"}]
    file = annotations_file(tmp_path, categories=categories)
    truth = ground_truth_from_annotations(file, [sample("a.jpg")], ("Fire hydrant", "cafe\u0301"))
    assert truth.category_ids == (0, 5)


def test_images_without_a_label_file_have_the_boxes_of_their_annotations(tmp_path: Path) -> None:
    crowd, beyond = {**CAT, "iscrowd": 1}, {**CAT, "category_id": 5, "bbox": [150, 50, 100, 100]}
    file = annotations_file(tmp_path, annotations=[CAT, crowd, beyond])
    labelled = sample("b.jpg", (1, 0.5, 0.5, 0.25, 0.5))
    bare = Sample(Path("a.jpg"), 200, 100, np.zeros((0, 5), np.float32), labelled=False)
    truth = ground_truth_from_annotations(file, [bare, labelled], NAMES)
    filled, same = boxes_as_labels(truth, [bare, labelled])
    assert same is labelled
    expected = [[0, 0.175, 0.3, 0.25, 0.4], [1, 0.875, 0.75, 0.25, 0.5]]  # the second is cut off at the edges
    assert filled.labels == pytest.approx(np.array(expected, np.float32))
