"""What a YOLOv5 network is made of: the layer tables of the stock sizes, and those found in a checkpoint.

An `Architecture` is plain data in upstream's own notation (rows of sources, repeats, module and arguments before
scaling), so it travels through checkpoints and artifacts unchanged. `build.py` turns it into modules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from compressor.errors import CheckpointError, Diagnostic
from compressor.models.yolov5.activation import ACTIVATIONS, SILU, Activation, parse_activation
from compressor.models.yolov5.layer_arguments import unsupported_argument

Kind = Literal["Conv", "C3", "SPP", "SPPF", "Focus", "Concat", "Upsample", "Detect"]
Anchors = tuple[tuple[tuple[float, float], ...], ...]  # per level, (width, height) in input pixels
Generation = Literal["v5", "v6"]
Widths = tuple[tuple[str, int], ...]  # output channels of convolutions by module name, sorted by it

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Row:
    """One layer before scaling.

    Attributes:
        sources: layer indices the input comes from; -1 is the previous layer.
        repeats: bottlenecks of a C3 before depth scaling, else 1.
        kind: which block.
        args: the block's arguments before width scaling, as in upstream's tables.
    """

    sources: tuple[int, ...]
    repeats: int
    kind: Kind
    args: tuple[Any, ...]

    @property
    def shortcut(self) -> bool:
        """Whether the bottlenecks of a C3 add their input to what they give."""
        return bool(self.args[1]) if len(self.args) > 1 else True


@dataclass(frozen=True)
class Architecture:
    """A YOLOv5 network as data.

    Attributes:
        nc: number of classes.
        depth_multiple: factor on C3 repeats.
        width_multiple: factor on channels.
        anchors: per level, (width, height) in input pixels.
        backbone: rows up to and including the last backbone layer.
        head: the remaining rows; the last is Detect.
        activation: of every Conv block.
        widths: of convolutions whose output channels differ from those of the rows and `width_multiple`; see
            `convolutions.with_widths`.
    """

    nc: int
    depth_multiple: float
    width_multiple: float
    anchors: Anchors
    backbone: tuple[Row, ...]
    head: tuple[Row, ...]
    activation: Activation = SILU
    widths: Widths = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """All layers in order."""
        return self.backbone + self.head

    @property
    def generation(self) -> Generation:
        """v5 has the Focus stem (releases v4.0 and v5.0), v6 the 6x6 convolution (v6.0 to v7.0)."""
        return "v5" if self.backbone[0].kind == "Focus" else "v6"

    @property
    def name(self) -> str:
        """`YOLOv5x` for a stock size whatever its classes and anchors, else `YOLOv5 (depth 0.5, width 0.3)`.

        An activation other than SiLU stands there as well, and how many convolutions have widths of their own.
        """
        other = "" if self.activation == SILU else f", {self.activation.text.removeprefix('nn.').removesuffix('()')}"
        other += f", {len(self.widths)} other widths" if self.widths else ""
        scales = f" (depth {self.depth_multiple:g}, width {self.width_multiple:g}{other})"
        return f"YOLOv5{self.stock_size or scales}"

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Of each layer, the layers whose outputs it takes, counted from the first; -1 is the images."""
        return tuple(tuple(each if each >= 0 else i + each for each in row.sources) for i, row in enumerate(self.rows))

    @property
    def kept_outputs(self) -> frozenset[int]:
        """The layers whose outputs a later one than the next takes, and those that a row names by their number."""
        rows = enumerate(self.rows)
        return frozenset(each if each >= 0 else i + each for i, row in rows for each in row.sources if each != -1)

    @property
    def stock_size(self) -> str | None:
        """`x` for the layer table of YOLOv5x, whatever its classes and anchors; None for a table of someone's own."""
        for size in stock_sizes(self.generation):
            stock = stock_architecture(self.generation, size, nc=self.nc)
            if replace(stock, anchors=self.anchors) == self:
                return size
        return None

    def channels(self, base: int) -> int:
        """Scaled channel count; a value equal to the head's output count is left alone, as upstream does."""
        anchors_per_level = len(self.anchors[0])
        if base == anchors_per_level * (self.nc + 5):
            return base
        return math.ceil(base * self.width_multiple / 8) * 8

    def repeats(self, base: int) -> int:
        """Scaled number of bottlenecks."""
        return max(round(base * self.depth_multiple), 1) if base > 1 else base


_MULTIPLES = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}

_P5_ANCHORS: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
_P6_ANCHORS: Anchors = (
    ((19, 27), (44, 40), (38, 94)),
    ((96, 68), (86, 152), (180, 137)),
    ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)


def _row(kind: Kind, *args: Any, repeats: int = 1, sources: tuple[int, ...] = (-1,)) -> Row:
    return Row(sources, repeats, kind, args)


_UP = _row("Upsample", None, 2, "nearest")


def _stages(generation: Generation, *widths: int) -> tuple[Row, ...]:
    """The stem and the first stages, strides 2 to 16, then one stride-2 stage per width without its C3."""
    stem = _row("Focus", 64, 3) if generation == "v5" else _row("Conv", 64, 6, 2, 2)
    return (
        stem,
        _row("Conv", 128, 3, 2),
        _row("C3", 128, repeats=3),
        _row("Conv", 256, 3, 2),
        _row("C3", 256, repeats=9 if generation == "v5" else 6),
        _row("Conv", 512, 3, 2),
        _row("C3", 512, repeats=9),
        *(row for width in widths for row in (_row("Conv", width, 3, 2), _row("C3", width, repeats=3))),
    )


def _backbone(generation: Generation, *widths: int) -> tuple[Row, ...]:
    """All stages, ending in spatial pyramid pooling: before the last C3 in v5, after it in v6."""
    stages = _stages(generation, *widths)
    if generation == "v6":
        return (*stages, _row("SPPF", 1024, 5))
    kernels = (5, 9, 13) if len(widths) == 1 else (3, 5, 7)
    return (*stages[:-1], _row("SPP", 1024, kernels), _row("C3", 1024, False, repeats=3))


def _neck_c3(width: int) -> Row:
    return _row("C3", width, False, repeats=3)


def _upwards(width: int, *, source: int) -> tuple[Row, ...]:
    """From a coarse level to the next finer one, joined with the backbone's output of that size."""
    return _row("Conv", width, 1, 1), _UP, _row("Concat", 1, sources=(-1, source)), _neck_c3(width)


def _downwards(width: int, *, source: int, out: int) -> tuple[Row, ...]:
    """From a fine level to the next coarser one, joined with the output of that size on the way up."""
    return _row("Conv", width, 3, 2), _row("Concat", 1, sources=(-1, source)), _neck_c3(out)


def _head_p5() -> tuple[Row, ...]:
    return (
        *_upwards(512, source=6),
        *_upwards(256, source=4),
        *_downwards(256, source=14, out=512),
        *_downwards(512, source=10, out=1024),
        _row("Detect", "nc", "anchors", sources=(17, 20, 23)),
    )


def _head_p6() -> tuple[Row, ...]:
    return (
        *_upwards(768, source=8),
        *_upwards(512, source=6),
        *_upwards(256, source=4),
        *_downwards(256, source=20, out=512),
        *_downwards(512, source=16, out=768),
        *_downwards(768, source=12, out=1024),
        _row("Detect", "nc", "anchors", sources=(23, 26, 29, 32)),
    )


def stock_sizes(generation: Generation) -> tuple[str, ...]:
    """The released sizes: n only from generation v6 on; a 6 marks the P6 models for 1280 px."""
    sizes = tuple(_MULTIPLES) if generation == "v6" else tuple(_MULTIPLES)[1:]
    return sizes + tuple(f"{size}6" for size in sizes)


def stock_architecture(generation: Generation, size: str, nc: int = 80) -> Architecture:
    """The architecture of a released model, such as `stock_architecture("v6", "n6")`.

    Args:
        generation: v5 (releases v4.0 and v5.0) or v6 (v6.0 to v7.0).
        size: one of `stock_sizes(generation)`.
        nc: number of classes.
    """
    depth, width = _MULTIPLES[size[0]]
    if size.endswith("6"):
        return Architecture(nc, depth, width, _P6_ANCHORS, _backbone(generation, 768, 1024), _head_p6())
    return Architecture(nc, depth, width, _P5_ANCHORS, _backbone(generation, 1024), _head_p5())


def architecture_from_yaml(yaml: dict[str, Any], nc: int, anchors: Anchors, path: str) -> Architecture:
    """The architecture a checkpoint's own `yaml` dictionary describes.

    Args:
        yaml: upstream's dictionary: depth_multiple, width_multiple, backbone, head, ch; and `widths`, by module name,
            which is ours.
        nc: number of classes, which wins over the dictionary's.
        anchors: pixel anchors taken from the Detect buffer, which AutoAnchor may have changed.
        path: the file, for error messages.

    Raises:
        CheckpointError: W304 a module that is not supported; W311 a table that cannot be read.
    """
    if yaml.get("ch", 3) != 3:
        raise _unsupported(path, f"a network with {yaml['ch']} input channels")
    try:
        return Architecture(
            nc=nc,
            depth_multiple=float(yaml["depth_multiple"]),
            width_multiple=float(yaml["width_multiple"]),
            anchors=anchors,
            backbone=tuple(_row_from_yaml(row, path) for row in yaml["backbone"]),
            head=tuple(_row_from_yaml(row, path) for row in yaml["head"]),
            activation=_activation(yaml.get("activation"), path),
            widths=_widths(yaml.get("widths"), path),
        )
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:  # int(inf) is an overflow
        raise _unreadable(path, f"its layer table cannot be read: {error}") from error


def architecture_to_yaml(architecture: Architecture) -> dict[str, Any]:
    """The inverse of `architecture_from_yaml`, in upstream's notation and fit for JSON."""
    return {
        "nc": architecture.nc,
        "depth_multiple": architecture.depth_multiple,
        "width_multiple": architecture.width_multiple,
        "anchors": [[value for pair in level for value in pair] for level in architecture.anchors],
        "backbone": [_row_to_yaml(row) for row in architecture.backbone],
        "head": [_row_to_yaml(row) for row in architecture.head],
        "ch": 3,
        **({} if architecture.activation == SILU else {"activation": architecture.activation.text}),
        **({"widths": dict(architecture.widths)} if architecture.widths else {}),
    }


def _activation(stated: Any, path: str) -> Activation:
    if stated is None or stated == "":
        return SILU
    try:
        return parse_activation(stated if isinstance(stated, str) else str(stated)[:60])
    except ValueError as error:
        help_text = f"supported are {', '.join(ACTIVATIONS)}, written like nn.LeakyReLU(0.1)"
        raise CheckpointError(Diagnostic("W304", f"{error} is not supported", path, help=help_text)) from error


def _widths(stated: Any, path: str) -> Widths:
    """As they are stated; `bounds.check_architecture` looks at the numbers."""
    if stated is None:
        return ()
    if not isinstance(stated, dict) or not all(isinstance(name, str) for name in stated):
        raise _unreadable(path, "its widths are not a mapping of convolutions to numbers of channels")
    return tuple(sorted(stated.items()))


def _row_from_yaml(row: list[Any], path: str) -> Row:
    source, repeats, module, args = row
    kind = str(module).removeprefix("nn.").removeprefix("models.common.")
    if kind not in KINDS:
        raise _unsupported(path, f"the module {module!r}")
    sources = tuple(int(index) for index in source) if isinstance(source, list | tuple) else (int(source),)
    arguments = tuple(_argument(arg) for arg in args)
    unsupported = unsupported_argument(kind, arguments)
    if unsupported is not None:
        raise _unsupported(path, f"{unsupported}, of the row {kind} in its layer table,")
    return Row(sources, int(repeats), kind, arguments)


_WORDS: dict[str, Any] = {"None": None, "False": False, "True": True}


def _argument(arg: Any) -> Any:
    if isinstance(arg, list | tuple):
        return tuple(_argument(item) for item in arg)
    return _WORDS.get(arg, arg) if isinstance(arg, str) else arg


_UPSTREAM_MODULE = {"Upsample": "nn.Upsample"}


def _row_to_yaml(row: Row) -> list[Any]:
    source = row.sources[0] if len(row.sources) == 1 else list(row.sources)
    args = [list(arg) if isinstance(arg, tuple) else arg for arg in row.args]
    return [source, row.repeats, _UPSTREAM_MODULE.get(row.kind, row.kind), args]


def _unsupported(path: str, what: str) -> CheckpointError:
    help_text = f"supported are {', '.join(KINDS)}, as in the releases v4.0 to v7.0"
    return CheckpointError(Diagnostic("W304", f"{what} is not supported", path, help=help_text))


def _unreadable(path: str, what: str) -> CheckpointError:
    return CheckpointError(
        Diagnostic("W311", what, path, help="re-export the checkpoint with a YOLOv5 detection model")
    )
