"""Annotations as people have them: the figures are those of the plain data set, or what differs is said."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from compressor.artifact.load import load_model
from compressor.data.dataset import load_dataset, read_split
from compressor.data.shapes import NAMES, draw_scene, label_text
from compressor.errors import DatasetError
from compressor.evaluation.coco import ground_truth_from_labels
from compressor.evaluation.evaluate import Evaluator, make_evaluator
from compressor.evaluation.network import Network, inference_network
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation as Settings
from compressor.results.evaluation import DetectionMetrics, Evaluation

CPU = torch.device("cpu")
EMBEDDED = Path(__file__).parents[2] / "compressor" / "data" / "weights" / "yolov5_shapes.safetensors"
Document = dict[str, Any]


@cache
def network() -> Network:
    return inference_network(load_model(EMBEDDED).model, CPU)


@dataclass
class Place:
    """A data set of three drawn images with labels and annotations of the same objects."""

    folder: Path
    document: Document

    def evaluator(self, encoding: str = "utf-8") -> Evaluator:
        (self.folder / "ann.json").write_bytes(json.dumps(self.document).encode(encoding))
        split = read_split(load_dataset(str(self.folder / "data.yaml")), "val")
        return make_evaluator(split, Settings(image_size=192, batch_size=1), CPU)

    def evaluation(self, encoding: str = "utf-8") -> Evaluation:
        return self.evaluator(encoding).evaluate(network(), Silent(), "")[0]

    def labels(self) -> list[Path]:
        return sorted((self.folder / "labels").iterdir())

    def rename(self, new_name: Callable[[str], str]) -> None:
        for folder in ("images", "labels"):
            for file in sorted((self.folder / folder).iterdir()):
                file.rename(file.with_name(new_name(file.stem) + file.suffix))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(3):
        scene = draw_scene(1_000_000 + index)
        cv2.imwrite(str(tmp_path / f"images/{index:06}.png"), scene.image)
        (tmp_path / f"labels/{index:06}.txt").write_text(label_text(scene))
    (tmp_path / "data.yaml").write_text(f"val: images\nnames: {list(NAMES)}\n")
    split = read_split(load_dataset(str(tmp_path / "data.yaml")), "val")
    truth = ground_truth_from_labels(split.samples, NAMES)
    (tmp_path / "data.yaml").write_text(f"val: images\nnames: {list(NAMES)}\nannotations: ann.json\n")
    annotations = [
        {**each, "image_id": each["image_id"] + 1, "category_id": each["category_id"] + 1} for each in truth.annotations
    ]
    images = [{**each, "id": each["id"] + 1} for each in truth.images]
    categories = [{"id": each["id"] + 1, "name": each["name"]} for each in truth.categories]
    return Place(tmp_path, {"images": images, "annotations": annotations, "categories": categories})


@pytest.fixture
def plain(place: Place) -> Evaluation:
    found = place.evaluation()
    assert found.metrics.coco.AP is not None and found.metrics.coco.AP > 0.3
    assert found.data.not_evaluated == () and found.data.skipped == ()
    assert found.data.objects == found.data.instances == len(place.document["annotations"])
    return found


def test_a_byte_order_mark_does_not_matter(place: Place, plain: Evaluation) -> None:
    assert place.evaluation("utf-8-sig").metrics == plain.metrics


def test_image_ids_as_text_do_not_matter(place: Place, plain: Evaluation) -> None:
    for each in place.document["annotations"]:
        each["image_id"] = str(each["image_id"])
    assert place.evaluation().metrics == plain.metrics


def test_the_unicode_form_of_names_does_not_matter(place: Place, plain: Evaluation) -> None:
    place.rename(lambda stem: unicodedata.normalize("NFD", f"é{stem}"))
    for each in place.document["images"]:
        each["file_name"] = unicodedata.normalize("NFC", f"é{each['file_name']}")
    assert place.evaluation().metrics == plain.metrics


def test_missing_areas_and_crowds_that_are_null_do_not_matter(place: Place, plain: Evaluation) -> None:
    for each in place.document["annotations"]:
        del each["area"]
        each["iscrowd"] = None
    found = place.evaluation()
    assert found.metrics == plain.metrics
    assert found.data.skipped[0].startswith(f"{plain.data.objects} annotations have no area")


def test_objects_of_other_categories_are_counted_and_named(place: Place, plain: Evaluation) -> None:
    place.document["categories"].append({"id": 9, "name": "pentagon"})
    place.document["annotations"].append({**place.document["annotations"][0], "category_id": 9})
    found = place.evaluation()
    assert found.metrics == plain.metrics
    assert [str(each) for each in found.data.not_evaluated] == [
        "1 object not evaluated because the category is not one of the data set's classes (pentagon 1)"
    ]


def test_records_of_other_files_are_refused(place: Place) -> None:
    place.rename(lambda stem: str(int(stem) + 1))
    for each, number in zip(place.document["images"], (2, 3, 1), strict=True):
        each.update(id=number, file_name=f"frame_{each['file_name']}")
    with pytest.raises(DatasetError, match=r"D406 3 of 3 images have no record of their own here: 1\.png"):
        place.evaluator()


def test_without_label_files_yolov5s_metric_uses_the_annotations(place: Place, plain: Evaluation) -> None:
    for file in place.labels():
        file.unlink()
    found = place.evaluation()
    assert found.metrics.coco == plain.metrics.coco
    ours, theirs = (vars(each.metrics.detection) for each in (found, plain))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert (found.data.instances, found.data.backgrounds) == (plain.data.instances, plain.data.backgrounds)
    assert found.data.skipped[0].startswith("3 images have no label file: YOLOv5's own metric uses their ")


def test_an_image_left_out_takes_its_annotations_along_and_says_so(place: Place, plain: Evaluation) -> None:
    place.labels()[0].write_text("0 .5 .5 .5\n")
    found = place.evaluation()
    (counted,) = found.data.not_evaluated
    assert (counted.reason, counted.places) == ("image left out", ("000000.png",))
    assert plain.data.objects is not None and found.data.objects == plain.data.objects - counted.objects
    assert found.data.images == 2


def test_labels_and_annotations_of_different_counts_are_reported(place: Place, plain: Evaluation) -> None:
    place.document["annotations"].pop()
    objects = plain.data.instances
    expected = (
        f"the COCO figures use the {objects - 1:,} objects of the annotations, YOLOv5's own metric uses {objects:,}"
    )
    assert place.evaluation().data.skipped[0].startswith(f"{expected} of the label files")


@pytest.mark.parametrize("change", [{"image_id": 99}, {"category_id": 99}, {"bbox": []}, {"iscrowd": 1, "bbox": None}])
def test_annotations_of_which_none_remains_are_refused(place: Place, change: Document) -> None:
    for each in place.document["annotations"]:
        each.update(change)
    with pytest.raises(DatasetError) as error:
        place.evaluator()
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "D420"
    objects = len(place.document["annotations"])
    assert diagnostic.message.startswith(
        f"none of the objects can be evaluated: {objects} objects not evaluated because"
    )


def test_labels_of_which_none_remains_are_refused(place: Place) -> None:
    (place.folder / "data.yaml").write_text(f"val: images\nnames: {list(NAMES)}\n")
    place.labels()[0].write_text("0 2 2 1 1\n")
    for file in place.labels()[1:]:
        file.write_text("")
    with pytest.raises(DatasetError, match="D420 none of the objects can be evaluated: 1 object not evaluated"):
        place.evaluator()


def test_images_without_objects_have_no_figures(place: Place) -> None:
    """That is not an error of the data, and nothing was measured."""
    place.document["annotations"] = []
    for file in place.labels():
        file.unlink()
    found = place.evaluation()
    assert found.metrics.detection == DetectionMetrics(None, None, None, None)
    assert found.metrics.coco.AP is None
    assert (found.data.objects, found.data.not_evaluated) == (0, ())


def test_a_part_of_the_images_has_their_objects_alone(place: Place) -> None:
    whole = place.evaluator()
    part = whole.part(1)
    assert len(part.split.samples) == len(part.ground_truth.images) == len(part.ground_truth.image_ids) == 1
    assert part.ground_truth.annotations == tuple(
        each for each in whole.ground_truth.annotations if each["image_id"] == 1
    )
    assert whole.part(3) is whole
    fewer = replace(whole.split, samples=whole.split.samples[:1])
    assert part.evaluate(network(), Silent(), "")[0].metrics == (
        make_evaluator(fewer, whole.settings, CPU).evaluate(network(), Silent(), "")[0].metrics
    )
