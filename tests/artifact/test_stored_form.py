"""What a file holds: decided once for saving and for predictions."""

import copy
from pathlib import Path
from typing import Literal, get_args

import pytest
import torch

from compressor.artifact.load import load_model
from compressor.artifact.save import Dtype, Form, Provenance, encode_model, round_to_dtype, unfolded_storage
from compressor.artifact.size import predicted_size
from compressor.artifact.stored_form import ready_to_store, stored_form
from compressor.models.detector import Detector
from compressor.models.yolov5.detect import head_of
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.recipe.modifiers import Prune
from trials.tiny import tiny_model


def folds(source: Detector, dtype: Dtype, *, folded: bool = True) -> bool:
    return stored_form(source, source, Form(dtype, "bitmask"), folded=folded, only_zeros=True).form.fold_on_load


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("representable", [True, False])
def test_folds_on_load_says_what_the_run_finds(when: str, representable: bool) -> None:
    source = tiny_model()
    if representable:
        round_to_dtype(source, "float16")  # as a checkpoint's weights are
    model = copy.deepcopy(source)
    if when == "before":
        fuse(model)
    prune(convolutions(model), Prune(type="prune", allocation="uniform", sparsity=0.4))
    fuse(model)
    dtypes: tuple[Dtype, ...] = get_args(Dtype)
    for dtype in dtypes:
        found = unfolded_storage(model, source, dtype) is not None
        assert folds(source, dtype) is found is (representable or dtype == "float32")


def test_nothing_is_folded_on_loading_where_the_run_or_the_source_does_not_fold() -> None:
    assert not folds(tiny_model(), "float32", folded=False)
    assert not folds(tiny_model(fused=True), "float32")


def test_one_number_that_float16_cannot_hold_is_enough() -> None:
    source = tiny_model()
    round_to_dtype(source, "float16")
    assert folds(source, "float16")
    head_of(source).anchors[0, 0, 0] = 1e6
    assert not folds(source, "float16")


def test_values_other_than_zeros_are_stored_as_they_are() -> None:
    source = tiny_model()
    round_to_dtype(source, "float16")
    model = fuse(copy.deepcopy(source))
    kept = ready_to_store(model, source, Form("float16", "bitmask"), only_zeros=False)
    assert kept.network is model and not kept.form.fold_on_load
    unfolded = ready_to_store(fuse(copy.deepcopy(source)), source, Form("float16", "bitmask"), only_zeros=True)
    assert unfolded.form.fold_on_load and not unfolded.network.fused


@pytest.mark.parametrize("layout", ["bitmask", "dense"])
def test_a_tensor_of_another_number_type_comes_back_just_as_it_was(
    layout: Literal["bitmask", "dense"], tmp_path: Path
) -> None:
    """Of the first format, which holds the number type of each tensor; the same bytes when it is written again."""
    model = tiny_model()
    name = "model.24.m.0.weight"
    model.state_dict()[name].view(-1)[::2] = 0.0
    exact = model.state_dict()[name].clone()
    assert not torch.equal(exact.half().float(), exact)
    form = Form("float16", layout, formats={name: "float32"})
    stored = ready_to_store(model, tiny_model(), form, only_zeros=False)
    provenance = Provenance({}, "tiny", "0" * 64)
    content = encode_model(stored.network, stored.form, provenance)
    assert predicted_size(stored.network, {}, stored.form, provenance) == len(content)
    (tmp_path / "model.safetensors").write_bytes(content)
    back = load_model(tmp_path / "model.safetensors")
    assert torch.equal(back.model.state_dict()[name], exact)
    assert back.origin is not None and back.origin.form.formats == {name: "float32"}
    assert encode_model(back.stored, back.origin.form, provenance) == content
