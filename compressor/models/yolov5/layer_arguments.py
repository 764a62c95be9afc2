"""What the arguments of a layer table's row mean, and which of them make a layer that is built here; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_UPSAMPLING_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")
_CONV_ARGUMENTS = ("output channels", "kernel", "stride", "padding", "groups")


@dataclass(frozen=True)
class Upsampling:
    """How an Upsample row enlarges.

    Attributes:
        scale: by which whole number each side grows.
        mode: torch's word for the interpolation.
        align_corners: torch's argument; False is what bilinear and bicubic do without it, and nearest takes none.
    """

    scale: int
    mode: str
    align_corners: bool | None


@dataclass(frozen=True)
class ConvArguments:
    """Of a Conv row, whose output channels stand before these.

    Attributes:
        kernel: height and width.
        step: stride in both directions.
        padding: zeros on each side.
        groups: channel groups.
    """

    kernel: int = 1
    step: int = 1
    padding: int = 0
    groups: int = 1


def conv_arguments(args: Sequence[Any]) -> ConvArguments:
    """Of the arguments (channels, kernel, stride, padding, groups); the padding is half the kernel where not given."""
    defaults: list[Any] = [None, 1, 1, None, 1]
    _, kernel, step, padding, groups = [*args[:5], *defaults[len(args) :]]
    return ConvArguments(kernel, step, kernel // 2 if padding is None else padding, groups)


def spp_kernels(args: Sequence[Any]) -> tuple[int, ...]:
    """Of an SPP row's arguments (channels, kernels): of its poolings."""
    return tuple(args[1]) if len(args) > 1 else (5, 9, 13)


def sppf_kernel(args: Sequence[Any]) -> int:
    """Of an SPPF row's arguments (channels, kernel): of its pooling."""
    return int(args[1]) if len(args) > 1 else 5


def upsampling(args: Sequence[Any]) -> Upsampling:
    """Of the arguments (size, scale_factor, mode, align_corners, recompute_scale_factor), as torch's Upsample has them.

    Raises:
        ValueError: with what is not built here.
    """
    defaults: list[Any] = [None, None, "nearest", None]
    size, factor, mode, corners, *_ = [*args, *defaults[len(args) :]]
    factors = tuple(factor) if isinstance(factor, list | tuple) else (factor, factor)
    scale = factors[0]
    if size is not None:
        raise ValueError(f"the size {_shown(size)}")
    if len(factors) != 2 or factors[0] != factors[1] or type(scale) not in (int, float) or scale not in range(1, 65):
        raise ValueError(f"the scale factor {_shown(factor)}")
    if mode not in _UPSAMPLING_MODES:
        raise ValueError(f"the mode {_shown(mode)}")
    if corners not in (None, True, False) or (mode.startswith("nearest") and corners is not None):
        raise ValueError(f"align_corners {_shown(corners)} in mode {mode}")
    return Upsampling(int(scale), mode, None if mode.startswith("nearest") else bool(corners))


def unsupported_argument(kind: str, args: Sequence[Any]) -> str | None:
    """What of a row's arguments is not built here, in words; None where all of them are.

    Counts and sizes are not looked into here: what makes no layer shows when it is built.

    Args:
        kind: block of the row, such as `C3`.
        args: its arguments.
    """
    match kind:
        case "Conv":
            for name, value in zip(_CONV_ARGUMENTS, args, strict=False):
                if isinstance(value, list | tuple | str):
                    return f"the {name} {_shown(value)}"
            return _other_than(args[5:], (1, 1), "argument 6 or 7")  # dilation from v7.0 on, then activation
        case "C3":
            return _other_than(args[2:], (1, 0.5), "groups or expansion")
        case "Focus":
            padding = args[1] // 2 if len(args) > 3 and type(args[1]) is int and args[3] is not None else None
            return _other_than(args[2:], (1, padding, 1, 1), "an argument behind the kernel")
        case "Concat":
            return _other_than(args, (1,), "the axis")
        case "Upsample":
            try:
                upsampling(args)
            except ValueError as error:
                return str(error)
        case "SPP" | "SPPF":
            return _other_than(args[2:], (), "an argument behind the kernel")
    return None


def _other_than(found: Sequence[Any], default: tuple[Any, ...], what: str) -> str | None:
    """The first value that is not its default (True is 1), or that has none."""
    for index, value in enumerate(found):
        if index >= len(default) or isinstance(value, list | tuple | str) or value != default[index]:
            return f"{what}, {_shown(value)}"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "a list"
    return str(value)[:40] if not isinstance(value, str) else repr(value[:40])
