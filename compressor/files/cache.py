"""Where downloads and drawn data are kept."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The user's cache folder for compressor, or the one that the environment variable COMPRESSOR_CACHE names."""
    named = os.environ.get("COMPRESSOR_CACHE")
    return Path(named) if named else user_cache_path("compressor")
