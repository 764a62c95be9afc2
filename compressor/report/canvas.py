"""Empty pictures and the PNG files they become."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def canvas(width: float, height: float) -> Figure:
    """A figure in inches that needs no screen."""
    # matplotlib takes half a second to import, and only pictures need it
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, software: str) -> bytes:
    """The figure as a PNG file; `software` is written into it, by which it can be known again."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name may hold any letter
        figure.savefig(picture, format="png", metadata={"Software": software})
    return picture.getvalue()
