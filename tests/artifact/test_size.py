import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as to_bytes

from compressor.artifact import save
from compressor.artifact.save import Dtype, Form, Layout, Provenance, encode_model
from compressor.artifact.size import predicted_size, safetensors_size
from compressor.models.detector import Detector
from compressor.plan.layers import convolutions
from trials.tiny import tiny_model

FROM = Provenance({"version": 1, "description": 'dünn "und" klein\n'}, "tiny.pt", "ab" * 32)
UNREAD = replace(FROM, source_sha256="0" * 64)
FORMATS = [(dtype, layout) for dtype in get_args(Dtype) for layout in get_args(Layout)]


def with_zeros(model: Detector, zeros: dict[str, int], seed: int = 0) -> Detector:
    """A copy that holds the zeros in random places, and no others."""
    zeroed, random = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    for layer in convolutions(zeroed):
        if layer.name in zeros:
            weight = layer.weight.view(-1)
            weight[weight == 0] = 1.0
            weight[torch.randperm(weight.numel(), generator=random)[: zeros[layer.name]]] = 0.0
    return zeroed


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("dtype", "layout"), FORMATS)
def test_equals_the_length_of_the_file(dtype: Dtype, layout: Layout, fused: bool, sparsity: float) -> None:
    model = tiny_model(fused=fused)
    zeros = {layer.name: round(sparsity * layer.weight.numel()) for layer in convolutions(model)}
    form = Form(dtype, layout, fold_on_load=not fused)
    size = predicted_size(model, zeros, form, UNREAD)
    assert size == len(encode_model(with_zeros(model, zeros), form, FROM))


@settings(max_examples=25)
@given(st.data())
def test_equals_the_length_of_the_file_for_any_zeros_in_any_layers(data: st.DataObject) -> None:
    model = tiny_model(fused=True)
    dtype, layout = data.draw(st.sampled_from(FORMATS))
    zeros = {
        layer.name: data.draw(st.integers(0, layer.weight.numel()), layer.name)
        for layer in convolutions(model)
        if data.draw(st.booleans())
    }
    form = Form(dtype, layout)
    real = encode_model(with_zeros(model, zeros, data.draw(st.integers(0, 99))), form, FROM)
    assert predicted_size(model, zeros, form, UNREAD) == len(real)


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_finds_the_zero_count_from_which_a_layer_is_encoded(dtype: Dtype) -> None:
    model = tiny_model(fused=True)
    layer = max(convolutions(model), key=lambda layer: layer.weight.numel())
    dense = predicted_size(model, {}, Form(dtype, "dense"), UNREAD)
    shrinks = set()
    for zeros in range(0, layer.weight.numel(), layer.weight.numel() // 64):
        size = predicted_size(model, {layer.name: zeros}, Form(dtype, "bitmask"), UNREAD)
        assert size == len(encode_model(with_zeros(model, {layer.name: zeros}), Form(dtype, "bitmask"), FROM))
        shrinks.add(size < dense)
    assert shrinks == {True, False}


def test_layers_that_are_not_named_keep_their_zeros_and_those_that_rounding_makes() -> None:
    model = tiny_model(fused=True)
    first, second = convolutions(model)[5:7]
    first.weight.view(-1)[::2] = 1e-9  # below half of float16's smallest number
    second.weight.view(-1)[::3] = 0.0
    sizes = {dtype: predicted_size(model, {}, Form(dtype, "bitmask"), UNREAD) for dtype in ("float16", "float32")}
    assert sizes == {dtype: len(encode_model(model, Form(dtype, "bitmask"), FROM)) for dtype in ("float16", "float32")}
    fewer = {first.name: 1, second.name: 1}
    assert predicted_size(model, fewer, Form("float16", "bitmask"), UNREAD) == sizes["float16"]


def test_leaves_the_model_as_it_is() -> None:
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    predicted_size(model, {"model.0.conv": 7}, Form("float16", "bitmask"), UNREAD)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("zeros", [{"model.99.conv": 1}, {"model.0.bn": 1}, {"model.0.conv": 10**6}])
def test_zeros_that_no_layer_can_hold_are_refused(zeros: dict[str, int]) -> None:
    (name,) = zeros
    with pytest.raises(ValueError, match=name):
        predicted_size(tiny_model(), zeros, Form("float16", "bitmask"), UNREAD)


def test_safetensors_size_counts_the_header_in_bytes_and_every_digit_of_a_place() -> None:
    tensors = {
        "b": torch.zeros(3, 5),
        "ä": torch.zeros(7, dtype=torch.float16),
        "a": torch.zeros(0, dtype=torch.uint8),
        "count": torch.zeros((), dtype=torch.int64),
    }
    for length in range(40):
        metadata = {"note": 'é"\\\n' + "x" * length}
        tensors["u"] = torch.zeros(10 ** (length % 5), dtype=torch.uint8)
        assert safetensors_size(tensors, metadata) == len(to_bytes(tensors, metadata))


def test_nothing_is_encoded_or_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(save, "encode")
    monkeypatch.delattr(save, "hashlib")
    assert predicted_size(tiny_model(), {}, Form("float16", "bitmask"), UNREAD) > 0
