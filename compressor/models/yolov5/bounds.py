"""How large a network of a stranger may be, in one place, with the reasons; and what makes no network. Without torch.

A layer table of a kilobyte can describe a network of any size, so all of this is looked at before anything is built.
The released networks, the same with more or fewer classes, and models that detect on P2 to P7 (strides 4 to 128) lie
well within every bound.
"""

from __future__ import annotations

import math
from typing import Any

from compressor.errors import CheckpointError, Diagnostic
from compressor.models.limits import MOST_TENSORS, MOST_WEIGHTS, beyond
from compressor.models.strides import DETECTION_STRIDES
from compressor.models.yolov5.architecture import Anchors, Architecture, Row

MOST_CLASSES = 10_000  # YOLO9000 tells 9,418 apart
MOST_LAYERS = 500  # rows of the layer table; a YOLOv5 that detects on P7 has about 45
MOST_BOTTLENECKS = 2_000  # YOLOv5x6 has 60
STRIDES = tuple(2**level for level in range(8))  # of one convolution, and of any layer: 128 is that of P7
MOST_KERNEL = 63  # height and width; the largest of a released network is 13, a pooling's
MOST_PADDING = 63  # pixels a side: padding adds to a map of any size, however small
MOST_POOLINGS = 16  # of one SPP, whose results are all held at once; the released networks have 3
MOST_ANCHORS = 100  # of a level; the released networks have 3
LARGEST_ANCHOR = 100_000  # pixels: ten times the side of the largest image
LARGEST_SCALE = 100  # of depth_multiple and width_multiple; that of YOLOv5x is 1.33
LONGEST_NAME = 1_000  # letters of a class name

# Feature maps that later layers take and the one being made, of one image of 640 x 640 px in float32; 2 GiB at 1280.
# YOLOv5x6 has 36 MiB of them, and with the 1,203 classes of LVIS 119; detecting these on P2 as well makes it about 400.
MOST_MAP_BYTES = 512 * 2**20
# Of one image of 640 x 640 px, multiply-accumulates and 16 for each element of each map; YOLOv5x6 has 110 billion.
MOST_OPERATIONS = 1_000 * 10**9


def check_classes(nc: int, path: str) -> None:
    """Refuse a number of classes that no detector has, before each is given a name.

    Raises:
        CheckpointError: W311 there is none; W330 there are too many.
    """
    _check_whole(nc, "the number of classes", MOST_CLASSES, path)


def check_anchor_shape(shape: tuple[int, ...], path: str) -> None:
    """Anchors are (levels, anchors, 2), at least one of each.

    Raises:
        CheckpointError: W331 they are not.
    """
    if len(shape) != 3 or shape[2] != 2 or not 0 < shape[0] <= len(STRIDES) or not 0 < shape[1] <= MOST_ANCHORS:
        raise _no_anchors(f"the anchors have the shape {list(shape)}, not [levels, anchors, 2]", path)


def check_anchors(anchors: Anchors, path: str) -> None:
    """Refuse anchors that are not sizes of boxes.

    Args:
        anchors: per level, (width, height); in pixels, or in cells of the level's grid, which are larger.
        path: the file, for messages.

    Raises:
        CheckpointError: W331.
    """
    check_anchor_shape((len(anchors), len(anchors[0]) if anchors else 0, 2), path)
    for level, pairs in enumerate(anchors):
        if len(pairs) != len(anchors[0]):
            raise _no_anchors(f"level {level} has {len(pairs)} anchors and level 0 has {len(anchors[0])}", path)
        for width, height in pairs:
            if not (_is_size(width) and _is_size(height)):
                message = f"an anchor of level {level} is {_shown(width)} x {_shown(height)} px"
                raise _no_anchors(f"{message}, and each must be above 0 and at most {LARGEST_ANCHOR:,}", path)


def check_architecture(architecture: Architecture, path: str) -> None:
    """Refuse a layer table whose numbers have no sense or lie beyond the bounds.

    Raises:
        CheckpointError: W311 a number without sense; W330 one beyond the bounds; W331 anchors without sense.
    """
    check_classes(architecture.nc, path)
    check_anchors(architecture.anchors, path)
    for name in ("depth_multiple", "width_multiple"):
        factor = getattr(architecture, name)
        if not (math.isfinite(factor) and factor > 0):
            raise no_network(f"its {name} is {_shown(factor)}, and must be a number above 0", path)
        if factor > LARGEST_SCALE:
            raise beyond(f"its {name} is {_shown(factor)}, and at most {LARGEST_SCALE} is read", path)
    rows = architecture.rows
    if len(rows) > MOST_LAYERS:
        raise beyond(f"its layer table has {len(rows):,} layers, and at most {MOST_LAYERS} are read", path)
    for index, row in enumerate(rows):
        astray = [source for source in row.sources if not (-max(index, 1) <= source < index)]
        if astray or not row.sources:
            message = f"layer {index} takes its input from {_shown(astray[0]) if astray else 'nowhere'}"
            raise no_network(f"{message}, where there is none", path)
        _check_row(row, f"of layer {index} ({row.kind})", path)
    bottlenecks = sum(architecture.repeats(row.repeats) for row in rows if row.kind == "C3")
    if bottlenecks > MOST_BOTTLENECKS:
        raise beyond(
            f"its layer table asks for {bottlenecks:,} bottlenecks, and at most {MOST_BOTTLENECKS:,} are read", path
        )
    if len(architecture.widths) > MOST_TENSORS:
        raise beyond(f"it gives {len(architecture.widths):,} widths, and at most {MOST_TENSORS:,} are read", path)
    for name, width in architecture.widths:
        _check_whole(width, f"the width of {_shown(name)}", MOST_WEIGHTS, path)
    if not rows or rows[-1].kind != "Detect" or any(row.kind == "Detect" for row in rows[:-1]):
        raise no_network("the last layer is not Detect, or it is not the only one", path)
    if len(rows[-1].sources) != len(architecture.anchors):
        message = f"it detects on {len(rows[-1].sources)} levels and has anchors for {len(architecture.anchors)}"
        raise no_network(message, path)


def check_strides(strides: tuple[int, ...], path: str) -> None:
    """Refuse levels of other strides than those of P2 to P7, which images and exports could not be fitted to.

    Raises:
        CheckpointError: W311.
    """
    odd = [stride for stride in strides if stride not in DETECTION_STRIDES]
    if odd:
        known = ", ".join(map(str, DETECTION_STRIDES))
        raise no_network(f"it detects at the stride {_shown(odd[0])}, and only {known} are read", path)


def no_network(what: str, path: str) -> CheckpointError:
    """W311: the layer table has no sense."""
    help_text = "re-export the checkpoint with a YOLOv5 detection model"
    return CheckpointError(Diagnostic("W311", f"its layer table makes no network: {what}", path, help=help_text))


def _check_row(row: Row, where: str, path: str) -> None:
    """The numbers of one layer; which arguments there are is the matter of whoever reads them."""
    _check_whole(row.repeats, f"the number of repeats {where}", MOST_BOTTLENECKS, path)
    odd = [each for each in _numbers(row.args) if not math.isfinite(each)]
    if odd:  # which no record could hold either
        raise no_network(f"an argument {where} is {_shown(odd[0])}", path)
    if row.kind in ("Conv", "C3", "SPP", "SPPF", "Focus"):
        _check_whole(row.args[0] if row.args else None, f"the number of channels {where}", MOST_WEIGHTS, path)
    match row.kind:
        case "Conv":
            for index, name, most in (
                (1, "kernel", MOST_KERNEL),
                (2, "stride", STRIDES[-1]),
                (4, "groups", MOST_WEIGHTS),
            ):
                if len(row.args) > index:
                    _check_whole(row.args[index], f"the {name} {where}", most, path)
            if len(row.args) > 2 and row.args[2] not in STRIDES:
                raise no_network(f"the stride {where} is {row.args[2]}, and must be a power of 2", path)
            if len(row.args) > 3 and row.args[3] is not None:
                _check_whole(row.args[3], f"the padding {where}", MOST_PADDING, path, least=0)
        case "Focus" | "SPPF" if len(row.args) > 1:
            _check_whole(row.args[1], f"the kernel {where}", MOST_KERNEL, path)
        case "SPP" if len(row.args) > 1:
            kernels = row.args[1]
            if not isinstance(kernels, tuple) or not 0 < len(kernels) <= MOST_POOLINGS:
                raise no_network(f"the kernels {where} are not a list of at most {MOST_POOLINGS}", path)
            for kernel in kernels:
                _check_whole(kernel, f"a kernel {where}", MOST_KERNEL, path)


def _numbers(value: Any) -> list[float]:
    """Every float among nested arguments."""
    if isinstance(value, tuple | list):
        return [number for each in value for number in _numbers(each)]
    return [value] if isinstance(value, float) else []


def _check_whole(value: Any, what: str, most: int, path: str, least: int = 1) -> None:
    if type(value) is not int or value < least:
        raise no_network(f"{what} is {_shown(value)}, and must be a whole number from {least} on", path)
    if value > most:
        raise beyond(f"{what} is {_shown(value)}, and at most {most:,} is read", path)


def _is_size(value: float) -> bool:
    return 0 < value <= LARGEST_ANCHOR  # which NaN is not


def _no_anchors(what: str, path: str) -> CheckpointError:
    help_text = "write the anchors in pixels, widths and heights above 0, and train or export the model again"
    return CheckpointError(Diagnostic("W331", what, path, help=help_text))


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) or abs(value) >= 10**15 else f"{value}"
    return f"{str(value)[:40]!r}" if isinstance(value, str) else "no number"
