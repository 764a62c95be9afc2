"""Loops that NumPy has no words for, compiled by Numba when first called and kept on disk for the next process.

Arithmetic is that of the types written, in the order written: nothing is reassociated, no product is fused into a sum,
and a division by zero gives what NumPy gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from inspect import getsourcefile
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

_Function = TypeVar("_Function", bound=Callable[..., object])
_COMPILER = tuple(version(package) for package in ("numba", "llvmlite"))


def compiled(function: _Function) -> _Function:
    """Compile a function of arrays and numbers; other threads run while it does.

    What is compiled is kept beside the source, or where that cannot be written in the user's cache (NUMBA_CACHE_DIR
    names another place). Where neither can, where the disk is full or what was kept is damaged, it is compiled again.
    """
    made = numba.njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError, AttributeError):  # no place to keep it, or a Numba with another inside
        made._cache = _Disposable(function)
    return cast(_Function, made)


class _Disposable(FunctionCache):  # type: ignore[misc]  # Numba has no types
    """A cache that costs nothing but time when it cannot be read or written.

    Numba offers no way to put a cache of one's own in place, so this leans on its private `_cache`, `_cache_file` and
    `_source_stamp`. A Numba without them compiles in every process again, and computes the same.

    Numba takes what was compiled of a file of the same time and size, which files of two releases may have; here the
    file's content decides, and what the function takes from other files.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _source_stamp(function)

    def load_overload(self, *wanted: Any) -> Any:
        """What was kept, None where nothing of use was."""
        try:
            return super().load_overload(*wanted)
        except Exception:  # whatever damage makes of a pickle
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, *made: Any) -> None:
        """Keep what was compiled."""
        with suppress(Exception):
            super().save_overload(*made)


def _source_stamp(function: FunctionType) -> str:
    """Digest of all that decides what is compiled: the source, the globals that are compiled in, and the compiler."""
    named = {name: function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__}
    constants = {name: repr(value) for name, value in named.items() if isinstance(value, (int, float, str, tuple))}
    called = [value.py_func for value in named.values() if isinstance(value, numba.core.dispatcher.Dispatcher)]
    files = sorted({str(getsourcefile(each)) for each in (function, *called)})
    contents = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]
    content = repr((contents, sorted(constants.items()), _COMPILER))
    return hashlib.sha256(content.encode()).hexdigest()
