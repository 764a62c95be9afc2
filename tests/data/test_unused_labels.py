"""Every object of a label file is in the figures, or counted by the reason why not."""

from pathlib import Path

import pytest

from compressor.data.dataset import Split, load_dataset, read_split
from compressor.errors import DatasetError
from compressor.results.evaluation import NotEvaluated, ObjectCount
from tests.data.images import write_image

BOX = ".5 .5 .25 .25"


def read(folder: Path, labels: dict[str, str], images: str = "ab", *, annotations: bool = False) -> Split:
    """Images of one letter, label files of any name."""
    for name in images:
        write_image(folder / f"images/{name}.png")
    for name, text in labels.items():
        file = folder / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    yaml = folder / "data.yaml"
    yaml.write_text("val: images\nnames: [cat, dog]\n" + "annotations: a.json\n" * annotations)
    (folder / "a.json").touch()
    return read_split(load_dataset(str(yaml)), "val")


def test_all_labels_used_leave_nothing_to_count(tmp_path: Path) -> None:
    assert read(tmp_path, {"a": f"0 {BOX}", "b": f"1 {BOX}"}).not_evaluated == ()


def test_objects_are_counted_by_reason_and_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/damaged.png").write_bytes(b"no image")
    labels = {
        "a": f"0 {BOX}\n1 {BOX}\n0 {BOX}\n\n1 {BOX}\n1 {BOX}\n",
        "b": f"0 {BOX}\n7 {BOX}\nx {BOX}\n",
        "damaged": f"1 {BOX}\n1 .1 .1 .1 .1\n",
        "deeper/gone": f"1 {BOX}",
        "gone": f"0 {BOX}\n1 {BOX}",
        "classes": "cat\ndog\n",
        "numbers": "1\n2\n",
        "empty": "\n",
    }
    split = read(tmp_path, labels)
    assert split.not_evaluated == (
        NotEvaluated(
            "image left out",
            5,
            (ObjectCount("dog", 2), ObjectCount("cat", 1), ObjectCount("class 7", 1), ObjectCount("class x", 1)),
            ("labels/b.txt", "labels/damaged.txt"),
        ),
        NotEvaluated(
            "image missing",
            3,
            (ObjectCount("dog", 2), ObjectCount("cat", 1)),
            ("labels/gone.txt", "labels/deeper/gone.txt"),
        ),
        NotEvaluated("repeated", 3, (ObjectCount("dog", 2), ObjectCount("cat", 1)), ("labels/a.txt",)),
    )
    assert [path.name for path in split.left_out] == ["b.png", "damaged.png"]
    assert str(split.not_evaluated[1]) == (
        "3 objects not evaluated because the label file has no image "
        "(dog 2, cat 1; labels/gone.txt, labels/deeper/gone.txt)"
    )


def test_labels_of_an_image_that_is_listed_and_not_there_are_counted(tmp_path: Path) -> None:
    read(tmp_path, {"a": f"0 {BOX}", "z": f"1 {BOX}", "unlisted": f"1 {BOX}"}, "a")
    (tmp_path / "list.txt").write_text("./images/a.png\n./images/z.png\n")
    (tmp_path / "data.yaml").write_text("val: list.txt\nnames: [cat, dog]\n")
    split = read_split(load_dataset(str(tmp_path / "data.yaml")), "val")
    assert [(each.reason, each.objects) for each in split.not_evaluated] == [("image missing", 1)]


@pytest.mark.parametrize("listed", [False, True])
def test_label_files_whose_ending_yolov5_does_not_read_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels").mkdir()
    for name, text in (("b.TXT", f"0 {BOX}\n1 {BOX}"), ("gone.Txt", f"1 {BOX}"), ("CLASSES.TXT", "cat\ndog")):
        (tmp_path / "labels" / name).write_text(text)
    if (tmp_path / "labels/b.txt").exists():
        pytest.skip("this file system opens b.TXT as b.txt, and so its labels are evaluated")
    split = read(tmp_path, {"a": f"0 {BOX}"})
    if listed:
        (tmp_path / "data.yaml").write_text("val: list.txt\nnames: [cat, dog]\n")
        (tmp_path / "list.txt").write_text("./images/a.png\n./images/b.png\n")
        split = read_split(load_dataset("data.yaml"), "val")
    both = (ObjectCount("cat", 1), ObjectCount("dog", 1))
    unread = NotEvaluated("label file not read", 2, both, ("labels/b.TXT",))
    missing = NotEvaluated("image missing", 1, (ObjectCount("dog", 1),), ("labels/gone.Txt",))
    assert split.not_evaluated == ((unread,) if listed else (missing, unread))
    assert str(unread) == (
        "2 objects not evaluated because the label file's ending is not .txt in lower case, and YOLOv5 reads no other "
        "(cat 1, dog 1; labels/b.TXT)"
    )


def test_where_annotations_tell_the_objects_labels_are_not_counted(tmp_path: Path) -> None:
    assert read(tmp_path, {"a": f"0 {BOX}", "gone": f"0 {BOX}"}, annotations=True).not_evaluated == ()


@pytest.mark.parametrize("labels", [{"a": f"1 {BOX}", "b": f"2 {BOX}"}, {"a": f"2 {BOX}\n1 {BOX}"}])
@pytest.mark.parametrize("annotations", [False, True])
def test_labels_that_count_from_1_are_refused(tmp_path: Path, labels: dict[str, str], annotations: bool) -> None:
    with pytest.raises(DatasetError, match="D421 the labels appear to count classes from 1: 1 objects are of class 2"):
        read(tmp_path, labels, annotations=annotations)


@pytest.mark.parametrize(
    "labels", [{"a": f"0 {BOX}", "b": f"2 {BOX}"}, {"a": f"1 {BOX}", "b": f"3 {BOX}"}, {"a": f"1 {BOX}", "b": ""}]
)
def test_labels_that_may_count_from_0_are_not(tmp_path: Path, labels: dict[str, str]) -> None:
    assert read(tmp_path, labels).samples
