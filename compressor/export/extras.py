"""Packages that only some formats need, imported where they are used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from compressor.errors import Diagnostic, InputError


def needed(package: str) -> ModuleType:
    """The package, with nothing sent to its makers.

    Raises:
        InputError: U912 it is not installed.
    """
    if package == "openvino":  # it reports every import and conversion to its makers, unless it cannot import this
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's mark of what is not there
    try:
        module = import_module(package)
    except ImportError as error:
        extra = "openvino" if package == "openvino" else "onnx"
        help_text = f'install it: pip install "compressor[{extra}]"'
        raise InputError(Diagnostic("U912", f"{package} is not installed", help=help_text)) from error
    if package == "onnxruntime":
        module.disable_telemetry_events()  # which its builds for Windows send
    return module
