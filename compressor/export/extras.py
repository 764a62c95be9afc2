"""Packages that only some formats need, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from compressor.errors import Diagnostic, InputError
from compressor.recipe.exports import ExportFormat

_ONNX = ("onnx", "onnxscript", "onnxruntime")
NEEDED: dict[ExportFormat, tuple[tuple[str, str], ...]] = {  # packages and the extras that bring them
    "onnx": tuple((package, "onnx") for package in _ONNX),
    "openvino": (("onnx", "openvino"), ("onnxscript", "openvino"), ("openvino", "openvino")),
}


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
