import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.data.dataset import Dataset, Split, load_dataset, read_split
from compressor.errors import DatasetError, Diagnostic
from tests.data.images import encoded, tiff_block, with_exif, write_image

LABEL = "0 .5 .5 .25 .25\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str) -> Dataset:
    return load_dataset(str(write(folder / "data.yaml", text)))


def read(folder: Path, text: str = "val: images\nnames: [cat, dog]\n", split: str = "val") -> Split:
    return read_split(load(folder, text), split)


def fault(caught: pytest.ExceptionInfo[DatasetError]) -> Diagnostic:
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def names(split: Split) -> list[str]:
    return [sample.image.name for sample in split.samples]


class TestDescription:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("names: [cat, no, 1, 'a b']", ("cat", "no", "1", "a b")),
            ("names: {1: dog, 0: cat}", ("cat", "dog")),
            ("names:\n  0: on\n  1: ~x\nnc: 2\n", ("on", "~x")),
            ("nc: 3", ("class0", "class1", "class2")),
            ("\ufeffnames: [Füße]\nroboflow: {a: !x 1}\ndownload: |\n  import os\n", ("Füße",)),
        ],
    )
    def test_class_names(self, tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
        assert load(tmp_path, text).names == expected

    @pytest.mark.parametrize(
        ("text", "place", "message"),
        [
            ("", (None, None), "a dataset YAML must be a mapping with the keys path, train, val, names"),
            ("- a\n", (1, 1), "a dataset YAML must be a mapping with the keys path, train, val, names"),
            ("val: [a\nnames: b\n", (2, 6), "not valid YAML: expected ',' or ']', but got ':'"),
            ("names: [a]\n\tval: b\n", (2, 1), "not valid YAML: found character '\\t' that cannot start any token"),
            ("names: [a]\n--- \nnames: [b]\n", (2, 1), "not valid YAML: but found another document"),
            ("names: [\0]", (None, None), "not valid YAML: a control character, or brackets nested too deep"),
            ("[" * 5000, (None, None), "not valid YAML: a control character, or brackets nested too deep"),
            ("val: a\nval: b\nnames: [x]", (2, 1), "the key 'val' is given twice"),
            ("names:\n  0: a\n  0: b", (3, 3), "the key '0' is given twice"),
            ("a: &a {val: b}\nnames: [x]\n<<: *a", (3, 1), "merge keys (<<) are not read"),
            ("[a, b]: c\nnames: [x]", (1, 1), "a key must be a word or a number"),
            ("val: a\n", (None, None), "the classes are missing"),
            ("names: []", (1, 8), "names holds no class"),
            ("names: cat", (1, 8), "names must be a list, or a mapping from 0, 1, 2, ... to names"),
            ("names: [a, [b]]", (1, 12), "a class name must be a word or a number"),
            ("names: [a, ]\nnc: 2", (2, 5), "nc is 2, but names holds 1"),
            ("names: [a, ~]", (1, 12), "a class name must be a word or a number"),
            ("names: {0: a, 2: c}", (1, 8), "names has 2 classes, but none with the index 1"),
            ("names: {0: a, b: c}", (1, 18), "names has the key 'b'; its keys must be whole numbers from 0"),
            ("names: {0: a, 1.0: c}", (1, 20), "names has the key '1.0'; its keys must be whole numbers from 0"),
            ("names: {0: a, -1: c}", (1, 19), "names has the key '-1'; its keys must be whole numbers from 0"),
            ("nc: 80.0", (1, 5), "nc must be a whole number above 0"),
            ("nc: 0", (1, 5), "nc must be a whole number above 0"),
            ("nc: 1\nval: {a: b}", (2, 6), "val must be a path, or a list of paths"),
            ("nc: 1\nval: []", (2, 6), "val names no images"),
            ("nc: 1\nval: [a, ~]", (2, 10), "val must be a path, or a list of paths"),
            ("nc: 1\nval: ''", (2, 6), "val must be a path, or a list of paths"),
            ("nc: 1\npath: [a]", (2, 7), "path must be one path"),
            ("nc: 1\nannotations: [a]", (2, 14), "annotations must be one path"),
        ],
    )
    def test_a_fault_has_its_place(
        self, tmp_path: Path, text: str, place: tuple[int | None, int | None], message: str
    ) -> None:
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, text)
        found = fault(caught)
        assert (found.code, found.message, (found.line, found.column)) == ("D401", message, place)
        assert found.path == str(tmp_path / "data.yaml")

    def test_all_faults_come_at_once_in_file_order(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, "nc: many\nnames: {0: [a]}\nval: {}\npath: []\n")
        assert [diagnostic.line for diagnostic in caught.value.diagnostics] == [1, 2, 3, 4]

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "data.yaml").write_bytes(b"names: [\xff]")
        with pytest.raises(DatasetError) as caught:
            load_dataset(str(tmp_path / "data.yaml"))
        assert str(caught.value).endswith("D401 the file is not UTF-8 text\n  help: save it as UTF-8")

    def test_a_file_that_is_not_there_names_the_nearest(self, home: Path) -> None:
        write(home / "shapes.yaml")
        for source, help_text in (
            ("shape.yaml", "did you mean 'shapes.yaml'?"),
            ("coco.yml", "did you mean 'coco.yaml'?"),
            ("x", "name a dataset YAML, or one that is built in: coco.yaml, coco128.yaml, shapes.yaml"),
        ):
            with pytest.raises(DatasetError) as caught:
                load_dataset(source)
            assert (fault(caught).code, fault(caught).help) == ("D402", help_text)

    @pytest.mark.parametrize(
        ("name", "content", "what", "way_on"),
        [
            ("mine", None, "a folder", "name the YAML in it: mine/data.yaml"),
            ("mine.zip", b"PK\x03\x04", "a zip archive", "unpack it, and name the YAML in it"),
            ("mine.tar", bytes(257) + b"ustar", "a tar archive", "unpack it"),
            ("val.json", b"{}", "a JSON file", "name COCO annotations under its key annotations:"),
            ("1.png", b"", "an image", "a folder of images is what val: names"),
        ],
    )
    def test_what_is_named_in_the_place_of_a_yaml_leads_on(
        self, home: Path, name: str, content: bytes | None, what: str, way_on: str
    ) -> None:
        if content is None:
            write(home / name / "data.yaml", "names: [a]")
        else:
            (home / name).write_bytes(content)
        with pytest.raises(DatasetError) as caught:
            load_dataset(name)
        found = fault(caught)
        assert (found.code, found.path) == ("D402", name)
        assert found.message.startswith(f"cannot read the data set: this is {what}, and a data set is named by")
        assert way_on in str(found.help)

    def test_a_folder_without_a_yaml_says_to_write_one(self, home: Path) -> None:
        write_image(home / "mine/images/1.png")
        with pytest.raises(DatasetError, match=r"D402 cannot read .*\n.*it holds no YAML: write one with path:"):
            load_dataset("mine")


class TestPlaces:
    def test_a_relative_root_counts_from_the_yaml_then_from_the_working_directory(self, home: Path) -> None:
        text = "path: data/cats\nval: images\nnc: 1\n"
        write_image(home / "data/cats/images/1.png")
        assert load(home / "configs", text).splits == {"val": (home / "data/cats/images",)}
        write_image(home / "configs/data/cats/images/1.png")
        assert load(home / "configs", text).splits == {"val": (home / "configs/data/cats/images",)}

    def test_without_a_root_each_path_counts_from_the_yaml_then_from_the_working_directory(self, home: Path) -> None:
        write_image(home / "a/1.png")
        write_image(home / "configs/b/1.png")
        dataset = load(home / "configs", "train: a\nval: [a, b]\ntest:\nnc: 1\n")
        assert dataset.splits == {"train": (home / "a",), "val": (home / "a", home / "configs/b")}

    def test_a_leading_parent_folder_may_be_left_out(self, home: Path) -> None:
        write_image(home / "cats/images/1.png")
        assert load(home / "configs", "path: ../cats\nval: ./images\nnc: 1\n").splits["val"] == (home / "cats/images",)
        assert load(home, "path: ../cats\nval: ../images\nnc: 1\n").splits["val"] == (home / "cats/images",)

    def test_an_absolute_root_and_an_absolute_source(self, home: Path) -> None:
        write_image(home / "cats/images/1.png")
        dataset = load(home / "x", f"path: {home / 'cats'}\ntrain: images\nval: {home / 'cats/images'}\nnc: 1\n")
        assert dataset.splits["train"] == dataset.splits["val"] == (home / "cats/images",)

    def test_missing_images_name_the_places_tried(self, home: Path) -> None:
        dataset = load(home / "configs", "path: cats\nval: images\nnc: 1\n")
        with pytest.raises(DatasetError) as caught:
            read_split(dataset, "val")
        assert fault(caught).code == "D402"
        assert fault(caught).message == (
            f"the val images are not there: no {home}/configs/cats/images, nor {home}/cats/images"
        )

    def test_every_missing_source_is_named(self, home: Path) -> None:
        write_image(home / "b/1.png")
        with pytest.raises(DatasetError) as caught:
            read(home, "val: [a, b, c]\nannotations: d.json\nnc: 1\n")
        assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["D402"] * 3
        assert "the COCO annotations are not there: no " in str(caught.value)

    def test_a_missing_split_names_those_there_are(self, home: Path) -> None:
        with pytest.raises(DatasetError) as caught:
            read(home, "val: images\ntrain: images\nnc: 1\n", "test")
        assert (fault(caught).code, fault(caught).message) == (
            "D403",
            "the data set has no test split; it has: train, val",
        )
        with pytest.raises(DatasetError, match="D403 the data set has no val split; it has: none"):
            read(home, "nc: 1\n")


class TestCatalogue:
    @pytest.mark.parametrize("source", ["coco.yaml", "coco128.yaml"])
    def test_the_names_are_cocos(self, home: Path, source: str) -> None:
        dataset = load_dataset(source)
        assert len(dataset.names) == 80 == len(set(dataset.names))
        assert (dataset.names[0], dataset.names[79]) == ("person", "toothbrush")

    def test_the_names_are_the_annotations_categories(self, shared: Path) -> None:
        record = json.loads((shared / "data/coco_val/annotations.json").read_text())
        assert load_dataset("coco.yaml").names == tuple(category["name"] for category in record["categories"])

    @pytest.mark.parametrize(
        ("source", "parts"),
        [
            ("coco.yaml", ("/datasets/coco/val2017.txt", "val2017.zip", "annotations/instances_val2017.json")),
            ("coco128.yaml", ("/datasets/coco128/images/train2017", "coco128.zip", "labels/train2017")),
        ],
    )
    def test_missing_images_say_what_to_download(self, home: Path, source: str, parts: tuple[str, ...]) -> None:
        with pytest.raises(DatasetError) as caught:
            read_split(load_dataset(source), "val")
        assert fault(caught).code == "D402" and all(part in str(caught.value) for part in parts)

    def test_coco_uses_its_own_annotations_for_val_alone(self, home: Path) -> None:
        root = home / "datasets/coco"
        for split in ("train", "val"):
            write_image(root / f"images/{split}2017/1.png")
            write(root / f"labels/{split}2017/1.txt", LABEL)
            write(root / f"{split}2017.txt", f"./images/{split}2017/1.png\n")
        assert read_split(load_dataset("coco.yaml"), "val").dataset.annotations is None
        annotations = write(root / "annotations/instances_val2017.json", "{}")
        assert read_split(load_dataset("coco.yaml"), "val").dataset.annotations == annotations
        assert read_split(load_dataset("coco.yaml"), "train").dataset.annotations is None
        few = "path: datasets/coco\nval: val2017.txt\nnc: 3\n"
        assert load(home, few).annotations is None

    def test_a_file_of_that_name_wins(self, home: Path) -> None:
        write(home / "coco.yaml", "names: [mine]")
        assert load_dataset("coco.yaml").names == ("mine",)


class TestSplit:
    def test_images_labels_and_backgrounds(self, home: Path) -> None:
        for name, text in (("b/2", LABEL), ("a/9", ""), ("1", None)):
            write_image(home / f"images/{name}.png", 60, 50)
            if text is not None:
                write(home / f"labels/{name}.txt", text)
        write(home / "images/readme.md", "no image")
        write(home / "images/._1.png", "left by another system")
        seen: list[tuple[int, int]] = []
        split = read_split(load(home, "val: images\nnc: 1\n"), "val", lambda done, total: seen.append((done, total)))
        assert names(split) == ["1.png", "9.png", "2.png"]
        assert [(s.width, s.height) for s in split.samples] == [(60, 50)] * 3
        assert [s.labels.tolist() for s in split.samples] == [[], [], [[0, 0.5, 0.5, 0.25, 0.25]]]
        assert split.skipped == () and seen == [(1, 3), (2, 3), (3, 3)]
        assert (split.name, split.dataset.names) == ("val", ("class0",))

    def test_list_files(self, home: Path) -> None:
        for name in ("1", "2", "3"):
            write_image(home / f"data/images/{name}.png")
        write_image(home / "elsewhere/4.jpg")
        lines = f"\n./images/2.png\n\ndata/images/1.png\nimages/3.png\r\n{home}/elsewhere/4.jpg\nnotes.md\n"
        write(home / "data/val.txt", lines)
        split = read(home, "val: data/val.txt\nnc: 1\n")
        assert names(split) == ["1.png", "2.png", "3.png", "4.jpg"]
        assert split.samples[0].image == home / "data/images/1.png"

    def test_a_folder_and_a_list_together_name_repeats_and_missing_files(self, home: Path) -> None:
        write_image(home / "images/1.png")
        write(home / "labels/1.txt", LABEL)
        write(home / "list.txt", "images/1.png\nimages/2.png\n")
        split = read(home, "val: [images, list.txt]\nnc: 1\n")
        assert names(split) == ["1.png"]
        assert split.skipped == (
            "images/2.png: left out, it is listed and not there",
            "images/1.png: named 2 times, used once",
        )

    def test_a_folder_linked_into_itself_is_searched_once(self, home: Path) -> None:
        write_image(home / "store/1.png")
        (home / "images").mkdir()
        (home / "images/linked").symlink_to(home / "store")
        (home / "images/loop").symlink_to(home / "images")
        assert names(read(home)) == ["1.png"]

    @pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\xff\xff", b"\xff\xfe"])
    def test_a_list_that_is_no_text(self, home: Path, content: bytes) -> None:
        (home / "val.txt").write_bytes(content)
        with pytest.raises(DatasetError, match="D401 this is not a text file with image paths"):
            read(home, "val: val.txt\nnc: 1\n")

    def test_a_folder_that_may_not_be_read(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_image(home / "images/1.png")

        def refused(place: str) -> None:
            raise PermissionError(13, "Permission denied", place)

        monkeypatch.setattr("os.scandir", refused)
        with pytest.raises(DatasetError) as caught:
            read(home)
        assert (fault(caught).code, fault(caught).path) == ("D402", str(home / "images"))

    def test_names_no_system_takes_are_missing(self, home: Path) -> None:
        write_image(home / "images/1.png")
        write(home / "val.txt", f"images/1.png\n{'a' * 300}.png\nb\0.png\n")
        split = read(home, "val: val.txt\nnc: 1\n")
        assert names(split) == ["1.png"] and len(split.skipped) == 3
        with pytest.raises(DatasetError, match="D402 the val images are not there"):
            read(home, f"path: ~nobody/{'a' * 300}\nval: images\nnc: 1\n")

    def test_whatever_is_left_out_says_why(self, home: Path) -> None:
        images = {
            "a.jpg": b"",
            "b.png": encoded(".png")[:-20],
            "c.jpg": b"<html>",
            "d.png": encoded(".png", 9, 50),
            "e.jpg": encoded(".jpg")[:-2],
            "f.png": encoded(".png"),
            "g.png": encoded(".png"),
            "h.jpg": with_exif(encoded(".jpg"), tiff_block(6, "<")),
        }
        (home / "images").mkdir()
        for name, content in images.items():
            (home / "images" / name).write_bytes(content)
        write(home / "labels/f.txt", LABEL + "2 .5 .5 .1 .1")
        write(home / "labels/g.txt", LABEL * 3)
        split = read(home)
        assert names(split) == ["e.jpg", "g.png", "h.jpg"]
        assert (split.samples[2].width, split.samples[2].height) == (20, 40)
        assert [len(s.labels) for s in split.samples] == [0, 1, 0]
        assert split.skipped == (
            "images/a.jpg: left out, the file is empty",
            "images/b.png: left out, the file is cut short",
            "images/c.jpg: left out, the file is damaged, or no image of a kind that can be read",
            "images/d.png: left out, it is 9 x 50 px, and a side below 10 px is too small",
            "images/e.jpg: kept, but it does not end as a JPEG does and may be cut short",
            "images/f.png: left out, its label file labels/f.txt is invalid: "
            "line 2: the data set has only 2 classes, counted from 0",
            "labels/g.txt: 2 repeated lines left out",
        )

    def test_missing_labels_are_mentioned(self, home: Path) -> None:
        write_image(home / "images/1.png")
        assert read(home).skipped == ("none of the 1 images has a label file, such as labels/1.txt",)

    def test_a_label_file_that_cannot_be_read_leaves_the_image_out(self, home: Path) -> None:
        write_image(home / "images/1.png")
        write_image(home / "images/2.png")
        (home / "labels/2.txt").mkdir(parents=True)
        split = read(home)
        assert names(split) == ["1.png"]
        assert split.skipped[0].startswith("images/2.png: left out, labels/2.txt cannot be read: ")

    def test_no_image_that_can_be_used(self, home: Path) -> None:
        (home / "images").mkdir()
        with pytest.raises(DatasetError) as caught:
            read(home)
        assert (fault(caught).code, fault(caught).message) == ("D404", "no image of the val split can be used: images")
        write(home / "images/1.jpg")
        with pytest.raises(DatasetError) as caught:
            read(home)
        assert fault(caught).message.endswith("; 1 left out, first images/1.jpg: left out, the file is empty")


class TestDigest:
    def test_it_is_that_of_a_listing(self, home: Path) -> None:
        image = write_image(home / "images/val/1.png")
        label = write(home / "labels/val/1.txt", LABEL)
        listing = "".join(
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(home).as_posix()}\n"
            for file in (image, label)
        )
        assert read(home).sha256 == hashlib.sha256(listing.encode()).hexdigest()

    def test_it_depends_on_names_and_contents_and_not_on_the_place(self, home: Path) -> None:
        write_image(home / "a/images/1.png")
        write_image(home / "a/images/2.png")
        write(home / "a/labels/1.txt", LABEL)
        first = read(home / "a").sha256
        shutil.copytree(home / "a", home / "b/c")
        assert read(home / "b/c").sha256 == first
        seen = {first}
        changes: list[Any] = [
            lambda: (home / "a/images/2.png").rename(home / "a/images/3.png"),
            lambda: write(home / "a/labels/1.txt", LABEL + "\n"),
            lambda: write(home / "a/labels/3.txt"),
            lambda: write_image(home / "a/images/3.png", seed=1),
        ]
        for change in changes:
            change()
            seen.add(read(home / "a").sha256)
        assert len(seen) == 5

    def test_the_identity_depends_on_all_that_figures_depend_on(self, home: Path) -> None:
        for name in ("1", "2"):
            write_image(home / f"images/{name}.png")
        write(home / "labels/1.txt", LABEL)
        text = "val: images\nnames: [cat, dog]\n"
        first = read(home, text)
        assert read(home, text).identity == first.identity
        seen = {first.identity, replace(first, samples=first.samples[:1]).identity}
        seen.add(read(home, text.replace("cat, dog", "dog, cat")).identity)
        write(home / "labels/1.txt", LABEL + LABEL)
        seen.add(read(home, text).identity)
        write(home / "a.json", "{}")
        seen.add(read(home, text + "annotations: a.json\n").identity)
        assert len(seen) == 5


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there names of files are text")
class TestNamesThatAreNoText:
    NAME = os.fsdecode(b"caf\xe9.png")  # as old archives have them

    def test_the_image_is_read_and_shown_readably(self, home: Path) -> None:
        write_image(home / "images/1.png")
        (home / "images" / self.NAME).write_bytes(encoded(".png"))
        (home / "labels").mkdir()
        (home / "labels" / os.fsdecode(b"caf\xe9.txt")).write_text("5 .5 .5 .1 .1")
        split = read(home)
        assert names(split) == ["1.png"] and "images/caf\\xe9.png: left out, its label file" in split.skipped[0]
        (home / "labels" / os.fsdecode(b"caf\xe9.txt")).write_text(LABEL)
        split = read(home)
        assert names(split) == ["1.png", self.NAME] and len(split.samples[1].labels) == 1 and not split.skipped
        files = (b"images/1.png", b"images/caf\xe9.png", b"labels/caf\xe9.txt")
        listing = b"".join(
            hashlib.sha256(Path(os.fsdecode(name)).read_bytes()).hexdigest().encode() + b"  " + name + b"\n"
            for name in files
        )
        assert split.sha256 == hashlib.sha256(listing).hexdigest()

    def test_a_list_may_name_it(self, home: Path) -> None:
        (home / self.NAME).write_bytes(encoded(".png"))
        (home / "val.txt").write_bytes(b"\xef\xbb\xbfcaf\xe9.png\ncaf\xe8.png\n")
        split = read(home, "val: val.txt\nnc: 1\n")
        assert names(split) == [self.NAME]
        assert split.skipped[0] == "caf\\xe8.png: left out, it is listed and not there"

    def test_annotations_cannot_name_it(self, home: Path) -> None:
        write_image(home / "images/1.png")
        (home / "images" / self.NAME).write_bytes(encoded(".png"))
        write(home / "a.json", "{}")
        split = read(home, "val: images\nnc: 1\nannotations: a.json\n")
        assert names(split) == ["1.png"]
        assert "images/caf\\xe9.png: left out, its name is not UTF-8 text" in split.skipped[0]


@pytest.mark.parametrize(
    ("folder", "images", "files", "objects"), [("coco128", 128, 126, 929), ("coco_val", 250, 248, None)]
)
def test_real_images(shared: Path, tmp_path: Path, folder: str, images: int, files: int, objects: int | None) -> None:
    root = (shared / "data" / folder).resolve()
    split = read(tmp_path, f"path: {root}\nval: images\nannotations: annotations.json\nnc: 80\n")
    counts = [len(sample.labels) for sample in split.samples]
    record = json.loads((root / "annotations.json").read_text())
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in record["images"]}
    assert (len(counts), images - counts.count(0)) == (images, files)
    assert objects is None or sum(counts) == objects
    assert split.skipped == () and split.dataset.annotations == root / "annotations.json"
    assert all(sizes[sample.image.name] == (sample.width, sample.height) for sample in split.samples)
    assert all(sample.labels.dtype == np.float32 for sample in split.samples)
