"""Objects of label files that are in no figure: their image is not evaluated, or their line or file is not read."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from compressor.data.labels import Labels, label_path
from compressor.data.sources import shown
from compressor.errors import DatasetError, Diagnostic
from compressor.files.reading import MEGABYTE, file_bytes
from compressor.results.evaluation import MOST_CATEGORIES, NotEvaluated, ObjectCount, Reason

MOST_BYTES_OF_LABELS = 16 * MEGABYTE
_ENDING = ".txt"  # of the label files that YOLOv5 opens
_PLACES = 6
_VALUES = 5  # the fewest of a line that tells an object
_LONGEST = 20  # letters of what should be a class


class LabelCensus:
    """Counts what is in the label files of a split.

    Args:
        names: class names by index.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.seen: Counter[int] = Counter()  # objects of every class index, in whatever file
        self.unused: dict[Reason, Counter[str]] = defaultdict(Counter)
        self.places: dict[Reason, list[str]] = defaultdict(list)

    def used(self, label_file: Path, content: bytes, labels: Labels, repeated: int) -> None:
        """A file whose labels are evaluated, but for repeated lines."""
        used = Counter(labels[:, 0].astype(int).tolist())
        self.seen.update(used)
        if repeated:
            again = Counter(_class(word) for word in _first_words(content))
            again.subtract(used)
            self._add("repeated", label_file, +again)

    def left_out(self, images: Iterable[Path], reason: Reason) -> None:
        """Images that are not evaluated, with whatever their label files hold."""
        for image in images:
            self._file(label_path(image), reason)

    def without_image(self, folders: Iterable[Path], images: Iterable[Path]) -> None:
        """Label files in the place where those of the folders' images stand, that belong to no image."""
        known = {label_path(image) for image in images}
        for folder in folders:
            for file in _text_files(label_path(folder / "x").parent):
                if file.with_suffix(_ENDING) not in known:
                    self._file(file, "image missing")

    def not_read(self, images: Iterable[Path]) -> None:
        """Label files of images whose ending is not `.txt` in small letters, which YOLOv5 does not open."""
        known = {label_path(image) for image in images}
        for folder in sorted({file.parent for file in known}):
            for file in _text_files(folder, deep=False):
                opened = file.with_suffix(_ENDING)
                if file != opened and opened in known and not _is_one(file, opened):
                    self._file(file, "label file not read")

    def _file(self, label_file: Path, reason: Reason) -> None:
        try:
            content = file_bytes(label_file, MOST_BYTES_OF_LABELS)
        except (OSError, ValueError):  # there is none, or there can be none
            return
        if reason in ("image missing", "label file not read") and not _are_labels(content):
            return
        classes = Counter(_class(word) for word in _first_words(content))
        self.seen.update({index: count for index, count in classes.items() if isinstance(index, int)})
        self._add(reason, label_file, classes)

    def _add(self, reason: Reason, label_file: Path, classes: Counter[int | str]) -> None:
        if not classes:
            return
        for index, count in classes.items():
            known = isinstance(index, int) and 0 <= index < len(self.names)
            self.unused[reason][self.names[int(index)] if known else f"class {index}"] += count
        if len(self.places[reason]) < _PLACES:
            self.places[reason].append(shown(label_file))

    def not_evaluated(self) -> tuple[NotEvaluated, ...]:
        """The objects that are not evaluated, by reason."""
        return tuple(
            NotEvaluated(
                reason,
                counts.total(),
                tuple(ObjectCount(*each) for each in counts.most_common(MOST_CATEGORIES)),
                tuple(self.places[reason]),
            )
            for reason, counts in sorted(self.unused.items())
        )

    def check_counted_from_0(self, source: str) -> None:
        """Refuse labels that seem to count classes from 1.

        Raises:
            DatasetError: D421.
        """
        count = len(self.names)
        if self.seen[count] and min(self.seen) >= 1 and max(self.seen) == count:
            message = (
                f"the labels appear to count classes from 1: {self.seen[count]:,} objects are of class {count}, none "
                f"is of class 0, and the {count} classes count from 0"
            )
            help_text = f"take 1 from every class in the label files; or correct the labels of class {count}"
            raise DatasetError(Diagnostic("D421", message, source, help=help_text))


def _first_words(content: bytes) -> Iterator[str]:
    for line in content.decode("utf-8-sig", "replace").splitlines():
        words = line.split(maxsplit=1)
        if words:
            yield words[0]


def _class(word: str) -> int | str:
    """A class index, or the text in its place."""
    try:
        number = float(word)
    except ValueError:
        return word[:_LONGEST]
    return int(number) if number.is_integer() and abs(number) < 1e9 else word[:_LONGEST]


def _are_labels(content: bytes) -> bool:
    """Whether a text file holds labels, and not something else such as a list of classes."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
        words = next((line.split() for line in lines if line.strip()), [])
        return len([float(word) for word in words]) >= _VALUES
    except ValueError:
        return False


def _text_files(folder: Path, *, deep: bool = True) -> Iterator[Path]:
    """Files whose ending is `.txt` in small or capital letters."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if name.lower().endswith(_ENDING))


def _is_one(file: Path, other: Path) -> bool:
    """Whether both names are of one file, as where a system does not tell capital letters from small ones."""
    try:
        return file.samefile(other)
    except OSError:  # there is no other one
        return False
