"""The version of compressor."""

__version__ = "0.1.0"
