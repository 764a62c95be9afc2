"""Groups of channels: what is removed from all of a group, and from nothing else, leaves a network that fits."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from compressor.artifact.load import load_model
from compressor.data.fetch import find_weights
from compressor.models.channels import ChannelGroup, Reader
from compressor.models.detector import Detector
from compressor.models.families import family_named, family_of
from compressor.models.yolov5.architecture import Architecture, Generation, Row, stock_architecture
from trials.seeded import fill

FAMILY = family_named("yolov5")
V6 = replace(stock_architecture("v6", "n", nc=3), width_multiple=0.0625)
V5 = replace(stock_architecture("v5", "s", nc=3), width_multiple=0.0625)
TABLES: tuple[tuple[Generation, str], ...] = (("v6", "n"), ("v6", "s"), ("v6", "x"), ("v6", "n6"), ("v5", "s"))


def group_of(spec: Architecture, writer: str) -> ChannelGroup:
    return next(group for group in FAMILY.channel_groups(spec) if writer in group.writers)


@pytest.mark.parametrize(("generation", "size"), TABLES)
def test_every_channel_is_in_one_group_and_every_input_is_read_from_one(generation: Generation, size: str) -> None:
    spec = stock_architecture(generation, size)
    groups, convolutions = FAMILY.channel_groups(spec), FAMILY.convolutions(spec)
    assert sorted(name for group in groups for name in group.writers) == sorted(each.name for each in convolutions)
    widths = {each.name: each.c_out for each in convolutions}
    assert all({widths[name] for name in group.writers} == {group.width} for group in groups)
    for each in convolutions:
        read = [(r.first, group.width) for group in groups for r in group.readers if r.name == each.name]
        ends = [0]
        for first, width in sorted(read):
            assert first == ends[-1]
            ends.append(first + width)
        assert ends[-1] == (each.c_in if each.role != "stem" else 0)
    assert [group.writers for group in groups if group.fixed] == [(e.name,) for e in convolutions if e.role == "detect"]


@pytest.mark.parametrize(("generation", "size"), TABLES)
def test_each_group_can_lose_channels_and_no_part_of_it_alone(generation: Generation, size: str) -> None:
    spec = stock_architecture(generation, size)
    for group in FAMILY.channel_groups(spec):
        if group.fixed:
            with pytest.raises(ValueError, match="follow from anchors and classes"):
                FAMILY.narrowed(spec, dict.fromkeys(group.writers, group.width - 1))
            continue
        narrow = FAMILY.narrowed(spec, dict.fromkeys(group.writers, group.width - 1))
        assert dict(narrow.widths) == dict.fromkeys(group.writers, group.width - 1)
        if len(group.writers) > 1:
            with pytest.raises(ValueError, match="shortcut around it"):
                FAMILY.narrowed(spec, {group.writers[-1]: group.width - 1})


def test_groups_are_those_of_the_layer_table() -> None:
    backbone = group_of(V6, "model.4.cv1.conv")
    assert backbone.writers == ("model.4.cv1.conv", "model.4.m.0.cv2.conv", "model.4.m.1.cv2.conv")
    assert Reader("model.4.m.1.cv1.conv", 0) in backbone.readers
    assert Reader("model.4.cv3.conv", 0) in backbone.readers
    assert group_of(V6, "model.4.cv2.conv").readers == (Reader("model.4.cv3.conv", backbone.width),)
    assert group_of(V6, "model.13.cv1.conv").writers == ("model.13.cv1.conv",)  # no shortcuts in the head
    pooled = group_of(V6, "model.9.cv1.conv")
    assert pooled.readers == tuple(Reader("model.9.cv2.conv", i * pooled.width) for i in range(4))
    behind = group_of(V6, "model.10.conv").width
    concatenated = group_of(V6, "model.6.cv3.conv").readers
    assert Reader("model.13.cv1.conv", behind) in concatenated
    assert Reader("model.7.conv", 0) in concatenated
    head = [reader.name for reader in group_of(V6, "model.23.cv3.conv").readers]
    assert head == ["model.24.m.2"]


def test_convolutions_of_several_channel_groups_are_left_alone() -> None:
    grouped = replace(V6, backbone=(*V6.backbone[:1], Row((-1,), 1, "Conv", (128, 3, 2, 1, 4)), *V6.backbone[2:]))
    assert [group.writers[0] for group in FAMILY.channel_groups(grouped) if group.fixed][:2] == [
        "model.0.conv",
        "model.1.conv",
    ]


def without(model: Detector, group: ChannelGroup, channel: int) -> Detector:
    """The network without one channel of a group."""
    family = family_of(model)
    spec = family.narrowed(model.spec, dict.fromkeys(group.writers, group.width - 1))
    made = family.build(spec, model.names, fused=model.fused).eval().requires_grad_(False)
    ours, theirs = dict(model.named_modules()), dict(made.named_modules())
    for name, target in theirs.items():
        if isinstance(target, nn.Conv2d | nn.BatchNorm2d):
            convolution = name if isinstance(target, nn.Conv2d) else f"{name.removesuffix('bn')}conv"
            gone = [channel] if convolution in group.writers else []
            taken = [reader.first + channel for reader in group.readers if reader.name == name]
            state = ours[name].state_dict()
            target.load_state_dict({key: cut(value, gone, taken) for key, value in state.items()})
    return made


def cut(value: Tensor, outputs: list[int], inputs: list[int]) -> Tensor:
    """A tensor without some output channels (axis 0) and input channels (axis 1)."""
    for axis, gone in ((0, outputs), (1, inputs)):
        if gone and value.ndim > axis:
            kept = [index for index in range(value.shape[axis]) if index not in gone]
            value = value.index_select(axis, torch.tensor(kept))
    return value


def muted(model: Detector, group: ChannelGroup, channel: int) -> dict[str, Tensor]:
    """The network's tensors where nothing that takes the channel makes anything of it."""
    state: Mapping[str, Tensor] = model.state_dict()
    for reader in group.readers:
        state[f"{reader.name}.weight"][:, reader.first + channel] = 0
    return dict(state)


@pytest.mark.parametrize("spec", [V6, V5], ids=["v6", "v5"])
def test_a_channel_that_nothing_takes_can_be_removed_without_a_trace(spec: Architecture) -> None:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    types = {each.name: each.types for each in FAMILY.convolutions(spec)}
    kinds = {
        (*(types[name] for name in group.writers), *(types[reader.name] for reader in group.readers)): group
        for group in FAMILY.channel_groups(spec)
        if not group.fixed
    }
    assert len(kinds) > 12
    dense = fill(FAMILY.build(spec)).eval().requires_grad_(False)
    for number, group in enumerate(kinds.values()):
        model, channel = copy.deepcopy(dense), number % group.width
        model.load_state_dict(muted(model, group, channel))
        for found, wanted in zip(without(model, group, channel)(images), model(images), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_embedded_network_has_groups_of_all_its_channels() -> None:
    model = load_model(find_weights("yolov5_shapes.safetensors", lambda _done, _total: None)).model
    groups = family_of(model).channel_groups(model.spec)
    shapes = [module.weight.shape for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert sum(group.width * len(group.writers) for group in groups) == sum(shape[0] for shape in shapes)
    assert sum(group.width * len(group.readers) for group in groups) == sum(shape[1] for shape in shapes[1:])
