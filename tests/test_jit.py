import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.caching import FunctionCache

from compressor.jit import compiled


def total(values: Any) -> float:
    found = 0.0
    for value in values:
        found += 1.0 / value
    return found


def test_a_division_by_zero_is_infinite_as_numpys() -> None:
    assert compiled(total)(np.array([1.0, 0.0])) == np.inf


COUNT = """
import sys, numpy, compressor.modifiers.prune.selection as s
print(s._count(numpy.ones(3, "f4"), numpy.float32(0), numpy.float32(1)), sum(s._count.stats.cache_hits.values()))
"""


def told(cache: Path | str) -> str:
    """What a process says of a compiled loop, and how often it was found in the cache."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_what_is_compiled_is_found_by_the_next_process_and_damage_costs_only_time(tmp_path: Path) -> None:
    assert [told(tmp_path), told(tmp_path)] == ["(0, 3) 0", "(0, 3) 1"]
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[: 100 if file.suffix == ".nbc" else 0])
    assert [told(tmp_path), told(tmp_path)] == ["(0, 3) 0", "(0, 3) 1"]


def test_without_a_place_to_keep_it_a_loop_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: Any, *__: Any) -> None:
        raise RuntimeError("cannot cache function 'total': no locator available for file 'x.py'")

    monkeypatch.setattr(FunctionCache, "__init__", nowhere)
    assert compiled(total)(np.array([2.0, 2.0])) == 1.0


def test_a_full_disk_costs_only_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(FunctionCache, "save_overload", full)
    assert compiled(total)(np.array([4.0])) == 0.25


def test_a_numba_with_another_inside_compiles_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: Any, *_: Any) -> None:
        """It makes no `_cache_file`."""

    monkeypatch.setattr(FunctionCache, "__init__", other)
    assert compiled(total)(np.array([2.0, 2.0])) == 1.0
