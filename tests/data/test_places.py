from pathlib import Path

import pytest

from compressor.data.dataset import Dataset, load_dataset, read_split, split_images
from compressor.errors import DatasetError
from tests.data.images import write_image


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside that of a data set, in which people work as in YOLOv5's own."""
    (tmp_path / "yolov5/data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "yolov5")
    return tmp_path / "yolov5"


def load(checkout: Path, text: str) -> Dataset:
    file = checkout / "data/mine.yaml"
    file.write_text(f"{text}\nnc: 1\n", encoding="utf-8")
    return load_dataset(str(file))


def test_a_root_written_as_yolov5s_own_counts_from_the_working_folder_and_says_so(checkout: Path) -> None:
    for place, count in ((checkout.parent / "data/images", 3), (checkout / "data/images", 1)):
        for i in range(count):
            write_image(place / f"{i}.png")
    dataset = load(checkout, "path: ../data\ntrain: images\nval: images")
    split = read_split(dataset, "val")
    assert len(split.samples) == 3
    assert split.skipped[0] == (
        f"the val images are those of {checkout.parent.as_posix()}/data/images; the YAML could also mean data/images: "
        "an absolute path decides it"
    )
    assert dataset.choices.keys() == {"train", "val"}


@pytest.mark.parametrize("there", ["yolov5/mine", "mine", "yolov5/data/mine"])
@pytest.mark.parametrize("root", ["../mine", "mine"])
def test_the_root_is_the_one_under_which_the_split_is(checkout: Path, there: str, root: str) -> None:
    home = checkout.parent
    for place in ("mine", "yolov5/mine", "yolov5/data/mine"):
        (home / place).mkdir(parents=True)
    write_image(home / there / "images/val/1.png")
    if root == "mine" and there == "mine":  # it counts from neither folder
        with pytest.raises(DatasetError, match="D402"):
            read_split(load(checkout, f"path: {root}\nval: images/val"), "val")
        return
    dataset = load(checkout, f"path: {root}\nval: images/val")
    assert dataset.splits["val"] == (home / there / "images/val",) and not dataset.choices


def test_splits_may_lie_under_different_roots(checkout: Path) -> None:
    write_image(checkout / "mine/train/1.png")
    write_image(checkout / "data/mine/val/1.png")
    dataset = load(checkout, "path: mine\ntrain: train\nval: val")
    assert dataset.splits == {"train": (checkout / "mine/train",), "val": (checkout / "data/mine/val",)}
    assert not dataset.choices


def test_a_folder_without_images_is_taken_last(checkout: Path) -> None:
    (checkout.parent / "mine/images").mkdir(parents=True)
    write_image(checkout / "mine/images/deep/1.png")
    dataset = load(checkout, "path: ../mine\nval: images")
    assert dataset.splits["val"] == (checkout / "mine/images",) and not dataset.choices


def test_all_sources_of_a_split_are_looked_for_under_one_root(checkout: Path) -> None:
    for place in ("data/mine/a", "mine/a", "mine/b"):
        write_image(checkout / place / "1.png")
    assert load(checkout, "path: mine\nval: [a, b]").splits["val"] == (checkout / "mine/a", checkout / "mine/b")


def test_the_annotations_are_those_that_lie_with_the_images(checkout: Path) -> None:
    for place in ("data/mine", "mine"):
        write_image(checkout / place / "images/1.png")
    (checkout / "mine/val.json").write_text("{}")
    text = "path: mine\nval: images\nannotations: val.json"
    dataset = load(checkout, text)
    assert dataset.splits["val"] == (checkout / "mine/images",)
    assert dataset.annotations == checkout / "mine/val.json" and not dataset.choices
    (checkout / "mine/images/1.png").unlink()
    (checkout / "mine/images").rmdir()
    dataset = load(checkout, text)  # under no root are both
    assert (dataset.splits["val"], dataset.annotations) == (
        (checkout / "data/mine/images",),
        checkout / "mine/val.json",
    )


def test_every_place_that_was_looked_at_is_named(checkout: Path) -> None:
    write_image(checkout / "data/images/1.png")  # of nobody's: `../` does not mean this folder
    with pytest.raises(DatasetError) as caught:
        read_split(load(checkout, "path: ../\nval: images"), "val")
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.message) == (
        "D402",
        f"the val images are not there: no {checkout.parent}/images, nor {checkout}/images",
    )


def test_a_place_that_two_paths_lead_to_is_no_choice(checkout: Path) -> None:
    write_image(checkout / "mine/images/1.png")
    (checkout / "data/mine").symlink_to(checkout / "mine")
    assert not load(checkout, "path: mine\nval: images").choices


def test_lines_of_a_list_that_mean_two_files_are_counted(checkout: Path) -> None:
    for place in (checkout, checkout / "data"):
        for name in ("1", "2"):
            write_image(place / f"images/{name}.png")
    (checkout / "data/val.txt").write_text("images/1.png\nimages/2.png\n./images/2.png\n")
    dataset = load(checkout, "val: data/val.txt")
    images, _ = split_images(dataset, "val")
    assert images == [checkout / "data/images/2.png", checkout / "images/1.png", checkout / "images/2.png"]
    (note,) = (sentence for sentence in read_split(dataset, "val").skipped if "could mean" in sentence)
    assert note == (
        "data/val.txt: 2 lines could mean images below the list's folder too; those below the working folder . were "
        "taken"
    )
