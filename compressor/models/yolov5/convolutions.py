"""Every convolution of a network, read from its layer table and its widths: nothing is built, and torch is not needed.

This is the one place where a width is worked out; `build` makes its modules of what stands here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from compressor.models.convolution import Convolution
from compressor.models.yolov5.architecture import Architecture, Row
from compressor.models.yolov5.layer_arguments import ConvArguments, conv_arguments, spp_kernels, upsampling
from compressor.recipe.targets import Role


@dataclass(frozen=True)
class FeatureMap:
    """What a layer gives.

    Attributes:
        channels: how many it has.
        scaled: how many it would have if every width followed from the layer table and `width_multiple`.
        stride: input pixels of the network per pixel of the map.
        made_of: the convolutions whose outputs it is made of, one after another; empty of the image.
    """

    channels: int
    scaled: int
    stride: int
    made_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerShape:
    """A row of the layer table with its channels.

    Attributes:
        row: the row.
        inputs: the maps that it takes.
        output: the map that it gives; that of Detect has no channels.
        convolutions: those in it, in the order of its modules.
    """

    row: Row
    inputs: tuple[FeatureMap, ...]
    output: FeatureMap
    convolutions: tuple[Convolution, ...]


def convolutions_of(architecture: Architecture) -> tuple[Convolution, ...]:
    """Every convolution in the order of the network's modules; `build` makes exactly these.

    Raises:
        ValueError: see `layer_shapes`.
    """
    return tuple(convolution for layer in layer_shapes(architecture) for convolution in layer.convolutions)


def layer_shapes(architecture: Architecture) -> tuple[LayerShape, ...]:
    """Every row of the layer table with its channels and convolutions.

    A convolution has the width that `architecture.widths` gives it, else that of the layer table and
    `width_multiple`, whatever stands before it; and it takes as many channels as its input has.

    Raises:
        ValueError: a row's arguments make no layer, or the widths do not go together.
    """
    widths = dict(architecture.widths)
    image = FeatureMap(3, 3, 1)
    layers: list[LayerShape] = []
    for index, row in enumerate(architecture.rows):
        inputs = tuple(layers[source].output if layers else image for source in row.sources)
        block = _Block(f"model.{index}", _role(index, architecture), (row.kind,), widths)
        layers.append(_layer(architecture, row, block, inputs))
    _check_known(widths, layers)
    return tuple(layers)


def with_widths(architecture: Architecture, widths: Mapping[str, int]) -> Architecture:
    """The same layer table with other widths of some convolutions.

    Args:
        architecture: widths that it gives already stay, where they are not given again.
        widths: output channels by module name, such as `{"model.2.m.0.cv1.conv": 5}`.

    Raises:
        ValueError: there is no such convolution, a width is not at least 1, or they do not go together.
    """
    scaled = {each.name: each.c_out for each in convolutions_of(replace(architecture, widths=()))}
    wanted = {**dict(architecture.widths), **widths}
    different = sorted((name, width) for name, width in wanted.items() if scaled.get(name) != width)
    changed = replace(architecture, widths=tuple(different))
    layer_shapes(changed)
    return changed


_POINTWISE = ConvArguments()


@dataclass(frozen=True)
class _Block:
    """Where convolutions are being listed: a module name, its role, the blocks around it; and the widths given."""

    name: str
    role: Role
    types: tuple[str, ...]
    widths: Mapping[str, int]

    def conv(self, name: str, source: FeatureMap, scaled: int, arguments: ConvArguments = _POINTWISE) -> Convolution:
        """The convolution inside a Conv block named `name` below this block.

        Args:
            name: of the Conv block; empty where it is this one.
            source: the map that it takes.
            scaled: its width by the layer table and `width_multiple`.
            arguments: its kernel, step, padding and groups.
        """
        path = f"{self.name}.{name}.conv" if name else f"{self.name}.conv"
        types = ("Conv2d", "Conv", *(kind for kind in self.types if kind != "Conv"))
        width, groups, kernel = self.widths.get(path, scaled), arguments.groups, arguments.kernel
        if width < 1 and path in self.widths:
            raise ValueError(f"{path} has the width {width}, and it must be at least 1")
        if source.channels % groups or width % groups:
            raise ValueError(f"{path} takes {source.channels} channels and gives {width} in {groups} groups")
        shape = (width, source.channels // groups, kernel, kernel)
        stride = source.stride * arguments.step
        geometry = (stride, arguments.step, arguments.padding, groups)
        return Convolution(path, self.role, types, shape, *geometry, source.made_of)


def _layer(architecture: Architecture, row: Row, block: _Block, inputs: tuple[FeatureMap, ...]) -> LayerShape:
    source = inputs[0]
    found: tuple[Convolution, ...] = ()
    match row.kind:
        case "Conv":
            scaled = architecture.channels(row.args[0])
            found = (block.conv("", source, scaled, conv_arguments(row.args)),)
            output = _given(found[0], scaled)
        case "C3":
            scaled = architecture.channels(row.args[0])
            found = tuple(_c3(block, source, scaled, architecture.repeats(row.repeats), row.shortcut))
            output = _given(found[2], scaled)
        case "SPP" | "SPPF":
            scaled = architecture.channels(row.args[0])
            branches = 4 if row.kind == "SPPF" else 1 + len(spp_kernels(row.args))
            inner = block.conv("cv1", source, source.scaled // 2)
            pooled = replace(source, channels=inner.c_out * branches, made_of=(inner.name,) * branches)
            found = (inner, block.conv("cv2", pooled, scaled))
            output = _given(found[1], scaled)
        case "Focus":
            scaled = architecture.channels(row.args[0])
            packed = FeatureMap(4 * source.channels, 4 * source.scaled, source.stride * 2, 4 * source.made_of)
            found = (block.conv("conv", packed, scaled, conv_arguments(row.args[:2])),)
            output = _given(found[0], scaled)
        case "Concat":
            channels, scaled = sum(each.channels for each in inputs), sum(each.scaled for each in inputs)
            output = FeatureMap(channels, scaled, source.stride, sum((each.made_of for each in inputs), ()))
        case "Upsample":
            scale = upsampling(row.args).scale
            if source.stride % scale:
                raise ValueError(f"a map of stride {source.stride} cannot be enlarged {scale} times")
            output = replace(source, stride=source.stride // scale)
        case "Detect":
            found, output = tuple(_outputs(architecture, block, inputs)), FeatureMap(0, 0, source.stride)
        case _:
            assert_never(row.kind)
    return LayerShape(row, inputs, output, found)


def _given(convolution: Convolution, scaled: int) -> FeatureMap:
    return FeatureMap(convolution.c_out, scaled, convolution.stride, (convolution.name,))


def _c3(block: _Block, source: FeatureMap, scaled: int, repeats: int, shortcut: bool) -> Iterator[Convolution]:
    """cv1 goes through the bottlenecks, cv2 past them, and cv3 takes both, the bottlenecks' first."""
    hidden = scaled // 2
    first, beside = block.conv("cv1", source, hidden), block.conv("cv2", source, hidden)
    inner = replace(block, types=("Bottleneck", *block.types))
    bottlenecks: list[Convolution] = []
    through = _given(first, hidden)
    for i in range(repeats):
        squeezed = inner.conv(f"m.{i}.cv1", through, hidden)
        opened = inner.conv(f"m.{i}.cv2", _given(squeezed, hidden), hidden, ConvArguments(3, padding=1))
        if shortcut and opened.c_out != through.channels:
            message = f"{opened.name} gives {opened.c_out} channels, and the shortcut around it {through.channels}"
            raise ValueError(message)
        if shortcut:
            opened = replace(opened, added_to=through.made_of[0])
        bottlenecks += (squeezed, opened)
        through = _given(opened, hidden)
    both = replace(through, channels=through.channels + beside.c_out, made_of=(*through.made_of, beside.name))
    yield from (first, beside, block.conv("cv3", both, scaled), *bottlenecks)


def _outputs(architecture: Architecture, block: _Block, inputs: tuple[FeatureMap, ...]) -> Iterator[Convolution]:
    """One convolution per level; how many channels it gives follows from anchors and classes."""
    outputs = len(architecture.anchors[0]) * (architecture.nc + 5)
    for level, source in enumerate(inputs):
        name, shape = f"{block.name}.m.{level}", (outputs, source.channels, 1, 1)
        yield Convolution(name, block.role, ("Conv2d", "Detect"), shape, source.stride, takes=source.made_of)


def _check_known(widths: Mapping[str, int], layers: list[LayerShape]) -> None:
    free = {each.name for layer in layers if layer.row.kind != "Detect" for each in layer.convolutions}
    unknown = [name for name in widths if name not in free]
    if unknown:
        message = f"there is no convolution {unknown[0][:100]!r} that could have a width of its own"
        raise ValueError(f"{message}; those of Detect follow from anchors and classes")


def _role(index: int, architecture: Architecture) -> Role:
    if index == 0:
        return "stem"
    if index == len(architecture.rows) - 1:
        return "detect"
    return "backbone" if index < len(architecture.backbone) else "neck"
