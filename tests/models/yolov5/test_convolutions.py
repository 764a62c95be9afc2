from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.models.yolov5.architecture import Architecture, Generation, Row, stock_architecture, stock_sizes
from compressor.models.yolov5.build import build
from compressor.models.yolov5.convolutions import convolutions_of
from compressor.recipe.targets import MODULE_TYPES, ROLES
from tests.models.yolov5.arithmetic import macs_of_weights

GENERATIONS: tuple[Generation, ...] = ("v5", "v6")
STOCK = [(generation, size) for generation in GENERATIONS for size in stock_sizes(generation)]


def check_against_the_network(architecture: Architecture) -> None:
    with torch.device("meta"):
        model = build(architecture)
    built = {name: tuple(m.weight.shape) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    told = {convolution.name: convolution.shape for convolution in convolutions_of(architecture)}
    assert told == built
    assert list(told) == list(built)


@pytest.mark.parametrize(("generation", "size"), STOCK)
@pytest.mark.parametrize("nc", [1, 3, 80])
def test_names_order_and_shapes_are_those_of_the_network(generation: Generation, size: str, nc: int) -> None:
    check_against_the_network(stock_architecture(generation, size, nc))


def test_optional_arguments_of_a_table_are_understood() -> None:
    stock = stock_architecture("v6", "n", nc=2)
    grouped = Row((-1,), 1, "Conv", (128, 3, 2, 1, 4))
    plain = Row((-1,), 1, "Conv", (64,))
    pooled = Row((-1,), 1, "SPP", (1024,))
    backbone = (*stock.backbone[:1], grouped, *stock.backbone[2:-1], pooled)
    check_against_the_network(replace(stock, backbone=backbone))
    check_against_the_network(replace(stock, backbone=(*backbone[:-1], stock.backbone[-1]), head=(*stock.head,)))
    only = replace(stock, backbone=(plain, plain, plain), head=(Row((0, 1, 2), 1, "Detect", ("nc", "anchors")),))
    check_against_the_network(only)


def test_macs_are_those_of_the_operation_counter() -> None:
    for generation, size in (("v6", "n"), ("v5", "s6")):
        architecture = stock_architecture(generation, size, nc=3)  # type: ignore[arg-type]  # a Literal in a tuple
        with torch.device("meta"):
            model = build(architecture)
        side = max(model.strides)
        told = {convolution.name: convolution.macs(side) for convolution in convolutions_of(architecture)}
        assert told == macs_of_weights(model)


def test_roles_and_types_cover_the_vocabulary() -> None:
    found = [c for g, s in STOCK for c in convolutions_of(stock_architecture(g, s))]
    assert {c.role for c in found} == set(ROLES)
    assert {kind for c in found for kind in c.types} == set(MODULE_TYPES)
    bottleneck = next(c for c in found if c.name == "model.2.m.0.cv2.conv")
    assert (bottleneck.types, bottleneck.kernel) == (("Conv2d", "Conv", "Bottleneck", "C3"), "3x3")
