import gzip
import json
import zlib
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from compressor.errors import RunError
from compressor.models.detector import Detector, sparsity
from compressor.models.yolov5.architecture import Generation, stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.allocation import by_losses
from compressor.modifiers.prune.selection import Dropped
from compressor.modifiers.prune.zeros import Evidence, keep_masks, prune
from compressor.plan.layers import convolutions
from compressor.recipe.modifiers import Prune
from compressor.results.sensitivity import LayerLosses, SensitivityTable
from trials.seeded import fill
from trials.tiny import tiny_model

Allocation = Literal["uniform", "global", "lamp", "erk"]


def filled(generation: Generation, size: str, *, fused: bool) -> Detector:
    model = fill(build(stock_architecture(generation, size))).eval().requires_grad_(False)
    return fuse(model) if fused else model


@pytest.mark.parametrize(("generation", "size"), [("v6", "n"), ("v5", "s")])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("amount", [0.3, 0.5])
def test_masks_equal_the_reference(golden: Path, generation: Generation, size: str, fused: bool, amount: float) -> None:
    everything = json.loads(gzip.decompress((golden / "prune.json.gz").read_bytes()))
    case = everything[f"{generation}/yolov5{size}"][f"{'fused' if fused else 'unfused'}_{amount}"]
    model = filled(generation, size, fused=fused)
    layers = convolutions(model)
    allocations: tuple[Allocation, Allocation] = ("global", "uniform")
    for allocation, theirs in zip(allocations, (case["global"]["layers"], case["layers"]), strict=True):
        modifier = Prune(type="prune", allocation=allocation, sparsity=amount)
        for layer, mask, expected in zip(layers, keep_masks(layers, modifier), theirs, strict=True):
            assert layer.name == expected["name"]
            if allocation == "global" and layer.name in case["global"]["layers_with_tie"]:
                assert abs(int(mask.sum()) - expected["kept"]) <= case["global"]["tied_at_threshold"]
                continue  # equal weights at the threshold: the reference takes either
            assert int(mask.sum()) == expected["kept"]
            assert zlib.crc32(np.packbits(mask).tobytes()) == expected["crc32"], layer.name
    prune(layers, modifier)
    assert sum(layer.zeros for layer in layers) == case["zeros"]
    assert sparsity(model) == pytest.approx(case["sparsity"], abs=1e-6)


@pytest.mark.parametrize("allocation", ["uniform", "global", "lamp", "erk"])
def test_counts_are_exact(allocation: Allocation) -> None:
    layers = convolutions(filled("v6", "n", fused=False))
    change = prune(layers, Prune(type="prune", allocation=allocation, sparsity=0.37))
    weights = [layer.weight.numel() for layer in layers]
    exact = sum(round(0.37 * n) for n in weights) if allocation == "uniform" else round(0.37 * sum(weights))
    assert change.pruned == exact == sum(layer.zeros for layer in layers)


@pytest.mark.parametrize("allocation", ["uniform", "global", "lamp", "erk"])
def test_every_target_gets_the_sparsity_of_the_last_key_that_matches(allocation: Allocation) -> None:
    layers = convolutions(tiny_model())
    shares = {"*": 0.2, "backbone": 0.6, "model.4.*": 0.4}
    change = prune(layers, Prune(type="prune", allocation=allocation, sparsity=shares))
    stage = [layer for layer in change.layers if layer.name.startswith("model.4.")]
    backbone = [layer for layer in change.layers if layer.role == "backbone" and layer not in stage]
    rest = [layer for layer in change.layers if layer.role != "backbone"]
    for group, share in ((stage, 0.4), (backbone, 0.6), (rest, 0.2)):
        total = sum(layer.weights for layer in group)
        exact = sum(round(share * x.weights) for x in group) if allocation == "uniform" else round(share * total)
        assert sum(layer.pruned for layer in group) == exact


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "3:5", "4:8", "1:2"])
def test_n_of_m_holds_in_every_group_of_input_channels(pattern: str) -> None:
    layers = convolutions(tiny_model())[1:]
    dense = [layer.weight.clone() for layer in layers]
    n, m = map(int, pattern.split(":"))
    change = prune(layers, Prune(type="prune", pattern=pattern))
    for layer, before in zip(layers, dense, strict=True):
        for start in range(0, before.shape[1], m):
            kept, group = layer.weight[:, start : start + m] != 0, before[:, start : start + m].abs()
            assert (kept.sum(dim=1) == min(n, group.shape[1])).all()
            smallest_kept = torch.where(kept, group, torch.inf).amin(dim=1)
            largest_dropped = torch.where(kept, -torch.inf, group).amax(dim=1)
            assert (smallest_kept >= largest_dropped).all()
    assert change.pruned == sum(layer.zeros for layer in layers)


def test_weights_that_were_zero_count_among_the_pruned() -> None:
    model = build(stock_architecture("v6", "n", nc=3)).requires_grad_(False)
    layer = convolutions(model)[5]
    layer.weight.view(-1)[-10:] = 0.0
    change = prune((layer,), Prune(type="prune", allocation="uniform", sparsity=0.5))
    assert (change.layers[0].zeros_before, change.pruned) == (10, round(0.5 * layer.weight.numel()))
    assert change.zeros == change.pruned


def test_equal_weights_go_in_the_order_of_their_positions() -> None:
    model = build(stock_architecture("v6", "n", nc=3)).requires_grad_(False)
    first, second = convolutions(model)[:2]
    for layer in (first, second):
        layer.weight.fill_(0.5)
    prune((first, second), Prune(type="prune", allocation="global", sparsity=0.1))
    total = first.weight.numel() + second.weight.numel()
    flat = torch.cat([first.weight.reshape(-1), second.weight.reshape(-1)])
    assert torch.equal(flat == 0, torch.arange(total) < round(0.1 * total))


def table(names: list[str]) -> SensitivityTable:
    """What matters less and less from layer to layer, by name."""
    known = {layer.name: layer.weight.numel() for layer in convolutions(tiny_model())}
    losses = tuple(
        LayerLosses(name, "neck", known[name], ((0.2, 1 / (i + 1)), (0.7, 9 / (i + 1)))) for i, name in enumerate(names)
    )
    return SensitivityTable("w", "0", "never", "magnitude", "output", False, "d", 1, 64, "val", losses)


def test_a_table_of_losses_shares_out_the_sparsity_by_name() -> None:
    layers = convolutions(tiny_model())[4:20]
    losses = table([layer.name for layer in reversed(layers)])
    modifier = Prune(type="prune", allocation="sensitivity", table="t.json", sparsity=0.4)
    change = prune(layers, modifier, Evidence(table=losses))
    expected = by_losses([losses.of(layer.name) for layer in layers], 0.4)
    assert [layer.pruned for layer in change.layers] == expected == [layer.zeros for layer in layers]
    assert len(set(expected)) > 2 and "sensitivity" in change.summary


def test_a_table_counts_within_every_key_of_the_sparsity() -> None:
    layers = convolutions(tiny_model())
    losses = table([layer.name for layer in layers])
    shares = {"*": 0.2, "neck": 0.6}
    modifier = Prune(type="prune", allocation="sensitivity", table="t.json", sparsity=shares)
    change = prune(layers, modifier, Evidence(table=losses))
    for is_neck in (True, False):
        group = [layer for layer in change.layers if (layer.role == "neck") == is_neck]
        share = 0.6 if is_neck else 0.2
        assert sum(layer.pruned for layer in group) == round(share * sum(layer.weights for layer in group))


def test_wanda_takes_the_norms_of_its_own_layer() -> None:
    layers = convolutions(tiny_model())[1:4]
    norms = {layer.name: torch.arange(layer.weight.shape[1]).float() + 1 for layer in layers}
    before = [layer.weight.clone() for layer in layers]
    modifier = Prune(type="prune", allocation="uniform", sparsity=0.5, score="wanda")
    prune(layers, modifier, Evidence(norms))
    for layer, old in zip(layers, before, strict=True):
        scores = (old * norms[layer.name].view(1, -1, 1, 1)).abs()
        assert float(scores[layer.weight == 0].max()) <= float(scores[layer.weight != 0].min())


def test_zeros_that_come_to_life_while_pruning_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    pruning = import_module("compressor.modifiers.prune.zeros")  # the package has a function of this name
    monkeypatch.setattr(pruning, "drop", lambda weights, *_: Dropped(weights.size, 0, weights.size))
    with pytest.raises(RunError, match="planned were"):
        prune(convolutions(tiny_model()), Prune(type="prune", allocation="uniform", sparsity=0.5))
