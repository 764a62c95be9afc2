"""Packages that only some formats need, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from compressor.errors import Diagnostic, InputError


def needed(package: str, extra: str) -> ModuleType:
    """The package.

    Raises:
        InputError: U912 it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as fault:
        help_text = f'install it: pip install "compressor[{extra}]"'
        raise InputError(Diagnostic("U912", f"{package} is not installed", help=help_text)) from fault
