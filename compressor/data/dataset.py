"""Data sets in YOLOv5's form: from the YAML that describes one to the checked images and labels of a split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressor.data.description import Description, parse_description
from compressor.data.image_file import MOST_BYTES, ends_early
from compressor.data.image_kind import kind_left_out
from compressor.data.image_size import displayed_size
from compressor.data.labels import label_path, parse_labels
from compressor.data.mistaken import what_else
from compressor.data.places import Found, find
from compressor.data.shapes import NAMES as SHAPES_NAMES
from compressor.data.shapes import is_drawn, shapes_dataset
from compressor.data.sources import find_images, is_there, is_utf8, shown
from compressor.data.unused_labels import MOST_BYTES_OF_LABELS, LabelCensus
from compressor.errors import DatasetError, Diagnostic, did_you_mean
from compressor.files.reading import MEGABYTE, file_bytes
from compressor.results.evaluation import NotEvaluated

SplitName = Literal["train", "val", "test"]

SHAPES = "shapes.yaml"
_MOST_BYTES_OF_YAML = MEGABYTE
LEAST_SIDE = 10  # pixels; upstream leaves smaller images out

_KNOWN = {
    "coco.yaml": "take val2017.zip and annotations_trainval2017.zip from https://cocodataset.org/#download and"
    " coco2017labels.zip from YOLOv5's release page; unpack them so that datasets/coco holds val2017.txt,"
    " images/val2017, labels/val2017 and annotations/instances_val2017.json (for the train split train2017 of each)",
    "coco128.yaml": "take coco128.zip from YOLOv5's release page; unpack it so that datasets/coco128 holds"
    " images/train2017 and labels/train2017",
}


@dataclass(frozen=True)
class Dataset:
    """What a dataset YAML describes; whether the images are there is only asked when a split is read.

    Attributes:
        source: as the user named it.
        splits: split to image folders or list files.
        names: class names by index.
        annotations: COCO instances JSON of the val split.
        tried: for each source that is not there, where it was looked for.
        choices: for each split that is there in several places, a sentence on which was taken.
    """

    source: str
    splits: Mapping[str, tuple[Path, ...]]
    names: tuple[str, ...]
    annotations: Path | None
    tried: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sample:
    """An image and what it holds.

    Attributes:
        image: the file.
        width: in pixels, as shown: turned by its EXIF orientation.
        height: likewise.
        labels: (n, 5): class, x centre, y centre, width, height; fractions of width and height.
        sha256: of the file as it was when it was checked; None where nobody looked.
        labelled: it has a label file, which may be empty.
    """

    image: Path
    width: int
    height: int
    labels: NDArray[np.float32]
    sha256: str | None = None
    labelled: bool = True


@dataclass(frozen=True)
class Split:
    """The checked images of one split.

    Attributes:
        dataset: where they come from; without annotations where these are of another split.
        name: train, val or test.
        samples: by path, as upstream sorts them.
        skipped: a sentence per image or label file that was left out or amended.
        sha256: digest over names and contents of the images and labels used. It is that of a listing as `sha256sum`
            prints it, each image followed by its label file, with names from the folder on that holds them all, and at
            the end the file of COCO annotations where it is evaluated by one.
        annotations_sha256: of the COCO annotations when the split was read; None where it is not evaluated by any.
        left_out: images of the split that cannot be used.
        not_evaluated: objects of label files that are in no figure; not counted where annotations tell the objects.
    """

    dataset: Dataset
    name: str
    samples: tuple[Sample, ...]
    skipped: tuple[str, ...]
    sha256: str
    annotations_sha256: str | None = None

    @property
    def choice(self) -> tuple[str, ...]:
        """A sentence on which images were taken, where the YAML could mean several."""
        return tuple(sentence for name, sentence in self.dataset.choices.items() if name == self.name)

    @property
    def identity(self) -> str:
        """Digest over all of the data that figures depend on: the files' names and bytes, which of them, the classes.

        Unlike `sha256` it is another one for each part of a split, and where classes change their names or order.
        """
        facts = {
            "files": self.sha256,
            "images": [sample.sha256 for sample in self.samples],
            "names": list(self.dataset.names),
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    left_out: tuple[Path, ...] = ()
    not_evaluated: tuple[NotEvaluated, ...] = ()


def load_dataset(source: str) -> Dataset:
    """Read a dataset YAML.

    Relative paths count from the `path` key's folder; that key, or where it is missing each path itself, counts from
    the YAML's folder or from the working directory, wherever the split then is; see `places`.

    Args:
        source: the YAML's path; where there is no such file, `coco.yaml`, `coco128.yaml` and `shapes.yaml` (drawn on
            first use) are known.

    Raises:
        DatasetError: D401 the text has an error; D402 there is no such file.
    """
    file = Path(source)
    if source == SHAPES and not file.is_file():
        file = shapes_dataset()
    if not file.is_file() and source in _KNOWN:
        content = resources.files("compressor.data").joinpath("catalogue", source).read_bytes()
        return _resolve(source, parse_description(content, source), Path.cwd())
    other = what_else(file)
    if other is not None:
        message = (
            f"cannot read the data set: this is {other.what}, and a data set is named by the YAML that describes it"
        )
        raise DatasetError(Diagnostic("D402", message, source, help=other.way_on))
    try:
        content = file_bytes(file, _MOST_BYTES_OF_YAML)
    except OSError as error:
        built_in = [*_KNOWN, SHAPES]
        near = did_you_mean(file.name, [*(path.name for path in file.parent.glob("*.y*ml")), *built_in])
        help_text = near or f"name a dataset YAML, or one that is built in: {', '.join(built_in)}"
        message = f"cannot read the data set: {error.strerror or error}"
        raise DatasetError(Diagnostic("D402", message, source, help=help_text)) from error
    return _resolve(source, parse_description(content, source), file.parent.absolute())


def not_drawn(source: str | None) -> Dataset | None:
    """The embedded data set without its images, where it is meant and not drawn yet; None where there is more."""
    if source != SHAPES or Path(SHAPES).is_file() or is_drawn():
        return None
    return Dataset(SHAPES, {}, SHAPES_NAMES, None)


def read_split(dataset: Dataset, split: str, progress: Callable[[int, int], None] | None = None) -> Split:
    """Find, check and digest a split's images and labels. Pixels are not decoded where the header says the size.

    Args:
        dataset: as `load_dataset` read it.
        split: train, val or test.
        progress: called with the number of images done and their total.

    Raises:
        DatasetError: D402 a source or the annotations are not there; D403 the data set has no such split; D404 it
            holds no image that can be used; D421 its labels seem to count classes from 1.
    """
    dataset = dataset if split == "val" else replace(dataset, annotations=None)
    sources = _existing_sources(dataset, split)
    images, found_notes, missing = find_images(sources)
    notes = [*(sentence for name, sentence in dataset.choices.items() if name == split), *found_notes]
    samples: list[Sample] = []
    digests: list[tuple[Path, str]] = []
    left_out: list[Path] = []
    census = LabelCensus(dataset.names)
    for done, image in enumerate(images, start=1):
        try:
            _check_name(image, dataset)
            checked = _check(image, census)
        except ValueError as error:
            notes.append(f"{shown(image)}: left out, {error}")
            left_out.append(image)
        else:
            samples.append(checked.sample)
            digests += checked.digests
            notes += checked.notes
        if progress is not None:
            progress(done, len(images))
    census.left_out(left_out, "image left out")
    census.left_out(missing, "image missing")
    census.check_counted_from_0(dataset.source)
    if not samples:
        raise _no_images(dataset, split, notes)
    if dataset.annotations is None and not any(sample.labelled for sample in samples):
        notes.append(f"none of the {len(samples)} images has a label file, such as {shown(label_path(images[0]))}")
    annotations = None if dataset.annotations is None else file_sha256(dataset.annotations)
    if annotations is None:
        census.not_read((*images, *missing))
        census.without_image((source for source in sources if source.is_dir()), (*images, *missing))
    return Split(
        dataset,
        split,
        tuple(samples),
        tuple(notes),
        _digest(digests, dataset.annotations, annotations),
        annotations,
        left_out=(*left_out, *missing),
        not_evaluated=() if annotations else census.not_evaluated(),
    )


def split_images(dataset: Dataset, split: str) -> tuple[list[Path], list[Path]]:
    """The images a split names, before any is opened; then those that it lists and that are not there.

    Raises:
        DatasetError: as `read_split` does of the sources.
    """
    dataset = dataset if split == "val" else replace(dataset, annotations=None)
    images, _, missing = find_images(_existing_sources(dataset, split))
    return images, missing


@dataclass(frozen=True)
class _Checked:
    """One image with its label file."""

    sample: Sample
    digests: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]


def _check_name(image: Path, dataset: Dataset) -> None:
    """Raises ValueError for an image that COCO annotations, being UTF-8, cannot name."""
    if dataset.annotations is not None and not is_utf8(image.name):
        raise ValueError("its name is not UTF-8 text, so that no record of the annotations can be its own: rename it")


def _check(image: Path, census: LabelCensus) -> _Checked:
    """Raises ValueError, saying what is wrong, for an image to be left out."""
    content = _content(image, MOST_BYTES)
    assert content is not None
    kind = kind_left_out(content)
    if kind is not None:
        raise ValueError(f"its content is {kind}, which YOLOv5 leaves out whatever the file's ending is")
    width, height = displayed_size(content)
    if min(width, height) < LEAST_SIDE:
        raise ValueError(f"it is {width} x {height} px, and a side below {LEAST_SIDE} px is too small")
    notes = []
    if ends_early(content):
        notes.append(f"{shown(image)}: kept, but it does not end as a JPEG does and may be cut short")
    label_file = label_path(image)
    label_content = _content(label_file, MOST_BYTES_OF_LABELS, optional=True)
    try:
        labels, repeated = parse_labels(label_content or b"", len(census.names))
    except ValueError as error:
        raise ValueError(f"its label file {shown(label_file)} is invalid: {error}") from error
    census.used(label_file, label_content or b"", labels, repeated)
    if repeated:
        notes.append(f"{shown(label_file)}: {repeated} repeated line{'s' * (repeated > 1)} left out")
    digest = hashlib.sha256(content).hexdigest()
    digests = [(image, digest)]
    if label_content is not None:
        digests.append((label_file, hashlib.sha256(label_content).hexdigest()))
    sample = Sample(image, width, height, labels, digest, labelled=label_content is not None)
    return _Checked(sample, tuple(digests), tuple(notes))


def _content(path: Path, most_bytes: int, *, optional: bool = False) -> bytes | None:
    """A file's bytes; None where an optional one is not there."""
    try:
        return file_bytes(path, most_bytes)
    except FileNotFoundError as error:
        if optional:
            return None
        raise ValueError("it is not there") from error
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be read: {error.strerror or error}") from error


def file_sha256(path: Path) -> str:
    """Of a file's bytes, in hex.

    Raises:
        DatasetError: D402 it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"cannot read this file: {error.strerror or error}"
        help_text = "give yourself the right to read it"
        raise DatasetError(Diagnostic("D402", message, str(path), help=help_text)) from error


def _digest(files: list[tuple[Path, str]], annotations: Path | None, annotations_sha256: str | None) -> str:
    try:
        common = Path(os.path.commonpath([path.parent for path, _ in files]))
    except ValueError:  # on several Windows drives
        common = None
    listing = hashlib.sha256()
    for path, digest in files:
        name = path.name if common is None else path.relative_to(common).as_posix()
        listing.update(f"{digest}  ".encode() + os.fsencode(name) + b"\n")
    if annotations is not None:
        listing.update(f"{annotations_sha256}  ".encode() + os.fsencode(annotations.name) + b"\n")
    return listing.hexdigest()


def _resolve(source: str, description: Description, file_folder: Path) -> Dataset:
    """Paths made absolute; the annotations lie with the val images where they can."""
    splits: dict[str, tuple[Path, ...]] = {}
    annotations: Path | None = None
    tried: dict[Path, tuple[Path, ...]] = {}
    choices: dict[str, str] = {}
    for split, texts in description.sources.items():
        found = find(texts, description.root, file_folder, Path.cwd())
        if split == "val":
            found, annotations = _with_annotations(found, description, file_folder)
        splits[split] = found.paths
        tried |= found.tried
        choice = found.choice(split)
        if choice is not None:
            choices[split] = choice
    return Dataset(source, splits, description.names, annotations, tried, choices)


def _with_annotations(val: Found, description: Description, file_folder: Path) -> tuple[Found, Path | None]:
    """The val images and their annotations: those of one root where they have one in common."""
    if description.annotations is None:
        return val, _coco_annotations(val.paths, description.names, val.roots)
    texts = (*description.sources["val"], description.annotations)
    both = find(texts, description.root, file_folder, Path.cwd())
    if not both.together:
        alone = find(texts[-1:], description.root, file_folder, Path.cwd())
        return replace(val, tried={**val.tried, **alone.tried}), alone.paths[0]
    return replace(both, paths=both.paths[:-1], others=tuple(paths[:-1] for paths in both.others)), both.paths[-1]


def _coco_annotations(sources: tuple[Path, ...], names: tuple[str, ...], roots: tuple[Path, ...]) -> Path | None:
    """COCO's own annotations where the val split is val2017 with COCO's classes and they stand in their usual place."""
    if len(sources) != 1 or sources[0].stem != "val2017" or len(names) != 80:
        return None
    files = (root / "annotations" / "instances_val2017.json" for root in roots)
    return next((file for file in files if is_there(file)), None)


def _existing_sources(dataset: Dataset, split: str) -> tuple[Path, ...]:
    if split not in dataset.splits:
        splits = ", ".join(dataset.splits) or "none"
        help_text = f"add the key {split}: to the file, or ask for a split it has" if dataset.splits else "add val:"
        message = f"the data set has no {split} split; it has: {splits}"
        raise DatasetError(Diagnostic("D403", message, dataset.source, help=help_text))
    sources = dataset.splits[split]
    needed = sources if dataset.annotations is None else (*sources, dataset.annotations)
    missing = [path for path in needed if not is_there(path)]
    if missing:
        raise DatasetError(*(_missing(dataset, split, path) for path in missing))
    if dataset.annotations is not None and not dataset.annotations.is_file():
        message = f"the COCO annotations are not a regular file: {dataset.annotations}"
        raise DatasetError(Diagnostic("D402", message, dataset.source, help="name a JSON file under annotations:"))
    return sources


def _missing(dataset: Dataset, split: str, path: Path) -> Diagnostic:
    places = ", nor ".join(str(place) for place in dataset.tried.get(path, (path,)))
    what = "the COCO annotations" if path == dataset.annotations else f"the {split} images"
    help_text = "relative paths count from the path: key, and that from the YAML's folder or the working directory"
    if dataset.source in _KNOWN:
        help_text = _KNOWN[dataset.source]
    return Diagnostic("D402", f"{what} are not there: no {places}", dataset.source, help=help_text)


def _no_images(dataset: Dataset, split: str, notes: list[str]) -> DatasetError:
    sources = ", ".join(shown(path) for path in dataset.splits[split])
    reasons = f"; {len(notes)} left out, first {notes[0]}" if notes else ""
    message = f"no image of the {split} split can be used: {sources}{reasons}"
    help_text = "name a folder of images, or a text file with one image path per line"
    return DatasetError(Diagnostic("D404", message, dataset.source, help=help_text))
