"""Loops that NumPy has no words for, compiled by Numba when first called and kept on disk for the next process.

Arithmetic is that of the types written, in the order written: nothing is reassociated, no product is fused into a sum,
and a division by zero gives what NumPy gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function of arrays and numbers; other threads run while it does.

    What is compiled is kept beside the source, or where that cannot be written in the user's cache (NUMBA_CACHE_DIR
    names another place); where neither can, every process compiles anew.
    """
    try:
        made = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no place to keep it
        made = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(_Function, made)
