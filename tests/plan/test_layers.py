import torch
from torch import nn

from compressor.models.batchnorm import batchnorm_scale
from compressor.models.yolov5.fuse import fuse
from compressor.plan.layers import convolutions
from tests.modifiers.networks import live_model


def test_layers_know_by_what_folding_multiplies_them() -> None:
    raw = live_model()
    folded = fuse(live_model())
    for here, there in zip(convolutions(raw), convolutions(folded, raw), strict=True):
        assert (here.folded, there.folded) == (False, True)
        if here.role == "detect":
            assert here.scale is there.scale is None
            assert torch.equal(here.weight, there.weight)
        else:
            assert here.scale is not None and there.scale is not None
            torch.testing.assert_close(there.weight, here.weight * here.scale.view(-1, 1, 1, 1))
            assert torch.equal(here.scale, there.scale)
    bn, scale = raw.model[1].bn, convolutions(raw)[1].scale
    assert isinstance(bn, nn.BatchNorm2d) and scale is not None
    assert torch.equal(scale, batchnorm_scale(bn)) and not scale.requires_grad


def test_a_checkpoint_that_came_folded_has_no_scales() -> None:
    assert all(layer.folded and layer.scale is None for layer in convolutions(live_model(fused=True)))


def test_layers_share_their_weights_with_the_model() -> None:
    model = live_model()
    convolutions(model)[3].weight.zero_()
    assert convolutions(model)[3].zeros == convolutions(model)[3].weight.numel()
