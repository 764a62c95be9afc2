"""Hostile files through the real command line, in a process of its own that notes all it must not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models.yolov5.hostile import CALLS, CANARY, IMPORTS, write_corpus
from trials.tiny import tiny_weights

ROOT = Path(__file__).parents[3]
SECONDS, MEGABYTES = 20, 2000


def read_all(folder: Path, place: Path, warmup: Path) -> list[dict[str, Any]]:
    """What each file of a folder came to, read by one process in the folder `place`."""
    place.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "tests.models.yolov5.hostile_reader", str(folder), str(warmup)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "files").mkdir()
    files = write_corpus(folder / "files", every=23)
    before = {path: path.stat().st_size for path in files if path.is_file()}
    results = read_all(folder / "files", folder / "cwd", tiny_weights(folder))
    assert {path: path.stat().st_size for path in (folder / "files").iterdir() if path in before} == before
    return files, results, folder / "cwd"


Corpus = tuple[list[Path], list[dict[str, Any]], Path]


def test_every_file_is_refused_in_a_sentence(corpus: Corpus) -> None:
    files, results, _ = corpus
    assert len(files) > 450 and len(results) > len(files)
    for result in results:
        first, *rest = result["err"].splitlines()
        assert result["code"] == 2 and not result["out"], result
        assert any(f" {code} " in first for code in ("W301", "W302", "W303", "W304", "W320")) or "R1" in first, result
        assert "Traceback" not in result["err"] and any("help: " in line for line in rest), result


def test_no_file_runs_code_or_writes(corpus: Corpus) -> None:
    _, results, place = corpus
    assert not [result for result in results if result["forbidden"]]
    assert not list(place.iterdir()) and not (ROOT / CANARY).exists()


def test_no_file_takes_long_or_much_memory(corpus: Corpus) -> None:
    _, results, _ = corpus
    worst = max(results, key=lambda result: result["seconds"])
    assert worst["seconds"] < SECONDS, worst
    largest = max(results, key=lambda result: result["mb"])
    assert largest["mb"] < MEGABYTES, largest


def test_the_watch_sees_what_is_forbidden(tmp_path: Path) -> None:
    code = (
        "import os, pickle, subprocess, sys; from tests.models.yolov5.hostile_reader import Watch; watch = Watch()\n"
        "watch.armed = True; pickle.loads(b'cos\\nsystem\\n(S\"true\"\\ntR.')\n"
        "open('ran', 'w').close(); os.remove('ran')\n"
        "watch.armed = False; print(' '.join(each.split()[0] for each in watch.seen))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert {"pickle.find_class", "os.system", "open", "os.remove"} <= set(done.stdout.split())


def test_the_corpus_has_every_call_and_every_import() -> None:
    assert len(CALLS) > 20 and len(IMPORTS) > 80
