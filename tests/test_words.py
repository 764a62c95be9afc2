"""Plain words: what must not come back into the parts whose texts have been rewritten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIALECT = (
    r"anew|mend(s|ed|ing)?|foresees?|foreseen|foretells?|foretold|faults?|faulty|at fault|told|told of|of none|"
    r"judged?|judges|judging"
)
EXCEPT = re.compile(r"`judged(: true)?`|# words\b")  # a recipe key; a line that says why it may

DONE = (
    (
        "compressor/tasks/verify",
        DIALECT,
    ),  # a folder or file, and the words that stay out of it: a rewritten part joins by one line
    ("compressor/data", DIALECT),
    ("compressor/files", DIALECT),
    ("compressor/training", DIALECT),
    ("compressor/evaluation", DIALECT),
    ("compressor/models", DIALECT),
    ("compressor/export", DIALECT),
    ("compressor/artifact", DIALECT),
    ("compressor/report", DIALECT),
    ("compressor/results", DIALECT),
    ("compressor/progress.py", DIALECT),
    ("compressor/errors.py", DIALECT),
    ("compressor/printable.py", DIALECT),
    ("compressor/jit.py", DIALECT),
)


def _files(place: Path) -> list[Path]:
    return sorted(each for each in place.rglob("*") if each.suffix in {".py", ".yaml", ".md", ".j2"}) or [place]


def _found(text: str, words: str) -> list[str]:
    pattern = re.compile(rf"\b({words})\b", re.IGNORECASE)
    lines = [EXCEPT.sub("", line) if "# words" not in line else "" for line in text.splitlines()]
    return [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]


@pytest.mark.parametrize(("place", "words"), DONE, ids=[place for place, _ in DONE])
def test_a_rewritten_part_keeps_to_plain_words(place: str, words: str) -> None:
    files = _files(ROOT / place)
    found = {file.name: _found(file.read_text(encoding="utf-8"), words) for file in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_check_finds_a_word_and_passes_over_an_exception() -> None:
    assert _found("It is done anew.\nA default.\nanew  # words: a quotation", DIALECT) == ["1: It is done anew."]
