"""The file that keeps what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.errors import OutputError
from compressor.progress import Silent
from compressor.results.sensitivity import LayerLosses
from compressor.tasks.sensitivity_log import Notebook

KEY = {"score": "magnitude", "sparsities": [0.5, 0.9]}
FIRST = LayerLosses("model.0.conv", "stem", 108, ((0.5, 1 / 3), (0.9, -1e-17)))
SECOND = LayerLosses("model.1.conv", "backbone", 288, ((0.5, 0.1), (0.9, 0.2)))


class Told(Silent):
    """Remembers the titles of steps."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def step(self, title: str):  # type: ignore[no-untyped-def]  # as the class above
        self.titles.append(title)
        return super().step(title)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "table.json.partial.jsonl"


@pytest.fixture
def half_full(file: Path) -> Path:
    notes = Notebook(file, KEY, Silent())
    assert not file.exists()  # nothing was measured
    notes.add(FIRST)
    notes.add(SECOND)
    return file


def test_goes_on_with_the_same_key(half_full: Path) -> None:
    told = Told()
    notes = Notebook(half_full, KEY, told)
    assert notes.known == {FIRST.name: FIRST, SECOND.name: SECOND}  # to the last digit
    assert told.titles == ["go on after 2 layers"]
    assert [path.name for path in half_full.parent.iterdir()] == [half_full.name]


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ({**KEY, "sparsities": [0.5]}, "start anew: other sparsities"),
        ({"score": "magnitude"}, "start anew: other sparsities"),
        ({**KEY, "version": "2", "score": "raw_magnitude"}, "start anew: other score, version"),
    ],
)
def test_starts_anew_with_another_key_and_says_so(half_full: Path, key: dict[str, object], title: str) -> None:
    told = Told()
    notes = Notebook(half_full, key, told)
    assert (notes.known, told.titles) == ({}, [title])
    notes.add(SECOND)
    assert Notebook(half_full, key, told).known == {SECOND.name: SECOND}


@pytest.mark.parametrize("text", ["", "my notes\n", "[1]\n", '{"schema": "other"}\n', '{"a": NaN}\nnot a layer\n'])
def test_something_else_is_left_alone(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(OutputError, match="O603"):
        Notebook(file, KEY, Silent())
    assert file.read_text() == text


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = Notebook(tmp_path / "file" / "table.partial.jsonl", KEY, Silent())
    with pytest.raises(OutputError, match="O602"):
        notes.add(FIRST)
