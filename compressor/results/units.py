"""Numbers as text: fractions, percentages, sizes and times, each with the decimals that every table uses."""

from __future__ import annotations


def fraction(value: float | None) -> str:
    """Three decimals, as pycocotools prints."""
    return "-" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Three decimals with a sign; no change has none."""
    if value is None:
        return "-"
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def percent(value: float) -> str:
    """Two decimals."""
    return f"{100 * value:.2f} %"


def megabytes(size_bytes: int) -> str:
    """MB of 1,000,000 bytes, three decimals."""
    return f"{size_bytes / 1e6:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds to two digits, or minutes."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def milliseconds(value: float | None) -> str:
    """One decimal."""
    return "-" if value is None else f"{value:.1f}"
