"""Declarative compression of YOLOv5 detectors."""

__version__ = "0.1.0"
