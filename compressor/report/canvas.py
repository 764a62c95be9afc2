"""Matplotlib figures without a screen, and their PNG files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD = 4096  # bytes of a file that hold what made it


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches, that needs no screen."""
    # matplotlib takes half a second to import, and only pictures need it
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, software: str) -> bytes:
    """The figure as a PNG file; `software` is written into it, so that `is_made_by` recognises it."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name may hold any letter
        figure.savefig(picture, format="png", metadata={"Software": software})
    return picture.getvalue()


def is_made_by(path: Path, software: str) -> bool:
    """Whether a file is a picture that `png` made for this software."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(b"\x89PNG\r\n") and f"Software\0{software}".encode() in head
