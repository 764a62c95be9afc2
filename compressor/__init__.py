"""Declarative compression of YOLOv5 detectors."""

from compressor.version import __version__

__all__ = ["__version__"]
