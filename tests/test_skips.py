"""A run says how many tests were skipped and why, leaves those of extras, and begins with the longest files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.order import LONGEST, pytest_collection_modifyitems

ROOT = Path(__file__).parents[1]
SUITE = """import pytest

@pytest.mark.skipif(True, reason="it is cold")
@pytest.mark.parametrize("n", range(3))
def test_warm(n): ...

def test_not_known_before(): pytest.skip("no data")

@pytest.mark.extras
def test_slow(): ...

def test_plain(): ...
"""
ABSENT = "import pytest\npytest.importorskip('no_such_package', reason='a package is absent')\n"


def said(folder: Path, *options: str) -> str:
    """What pytest prints about a suite with skips of each kind, in a process of its own."""
    (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
    (folder / "test_absent.py").write_text(ABSENT, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = extras: slow\n", encoding="utf-8")
    quiet = ("-q", "-p", "tests.skips", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    command = [sys.executable, "-m", "pytest", *quiet, *options, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_skipped_tests_are_counted_by_reason(tmp_path: Path, workers: str) -> None:
    printed = said(tmp_path, "-n", workers)
    title, *lines = re.findall(r"^(?:-+ )?(skipped: \d+|[ \d]{6}  .*?)(?: -+)?$", printed, re.MULTILINE)
    assert title == "skipped: 6"
    assert [line.split(maxsplit=1) for line in lines] == [
        ["3", "it is cold"],
        ["1", "a package is absent"],
        ["1", "no data"],
        ["1", "of extras: slow, or in need of packages of their own; `make test-extras` runs them"],
    ]


def test_long_files_come_first_and_the_tests_of_a_file_stay_together() -> None:
    def item(file: str, name: str) -> Any:
        return SimpleNamespace(nodeid=f"{file}::{name}")

    assert all((ROOT / file).is_file() for file in LONGEST)
    short, long, longest = "tests/test_words.py", LONGEST[3], LONGEST[0]
    items = [item(file, name) for file in (short, long, longest) for name in "ba"]
    pytest_collection_modifyitems(items)
    assert [each.nodeid for each in items] == [f"{file}::{name}" for file in (longest, long, short) for name in "ba"]


def test_extras_run_when_they_are_asked_for(tmp_path: Path) -> None:
    assert "1 passed" in said(tmp_path, "-m", "extras", "-vv", "-n", "0")
