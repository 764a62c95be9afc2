import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from compressor.compiled import compiled


def total(values: Any) -> float:
    found = 0.0
    for value in values:
        found += 1.0 / value
    return found


def test_a_division_by_zero_is_infinite_as_numpys() -> None:
    assert compiled(total)(np.array([1.0, 0.0])) == np.inf


def test_without_a_place_to_keep_it_a_loop_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def no_locator(**options: Any) -> Callable[..., Any]:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'total': no locator available for file 'x.py'")
        compile_: Callable[..., Any] = njit(**options)
        return compile_

    monkeypatch.setattr(numba, "njit", no_locator)
    assert compiled(total)(np.array([2.0, 2.0])) == 1.0


def test_what_is_compiled_is_found_by_the_next_process(tmp_path: Path) -> None:
    code = (
        "import numpy, compressor.modifiers.selection as s\n"
        "s._count(numpy.ones(3, 'f4'), numpy.float32(0), numpy.float32(1))\n"
        "print(sum(s._count.stats.cache_hits.values()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    told = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert told == ["0\n", "1\n"]
