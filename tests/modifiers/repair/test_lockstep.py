import copy

import numpy as np
import pytest
import torch
from torch import nn

from compressor.models.batchnorm import batchnorm_scale
from compressor.models.detector import Detector
from compressor.modifiers.repair.lockstep import Meeting, objectness, side_by_side
from tests.modifiers.networks import hooks_left, inputs_and_outputs, live_model, pictures, pruned


def ignore(_done: int, _total: int | None) -> None:
    pass


@pytest.mark.parametrize("fused", [False, True])
def test_every_convolution_is_met_once_in_the_order_of_running(fused: bool) -> None:
    subject, _ = pruned(fused=fused)
    images, met, told = pictures(3), {}, []

    def meet(meeting: Meeting) -> None:
        assert meeting.name not in met
        met[meeting.name] = meeting.inputs.clone(), meeting.wanted.clone(), meeting.outputs().clone()

    before = {name: value.clone() for name, value in subject.dense.state_dict().items()}
    side_by_side(subject.dense, subject.model, images, meet, lambda done, total: told.append((done, total)))
    ours, theirs = inputs_and_outputs(subject.model, images), inputs_and_outputs(subject.dense, images)
    assert list(met) == list(theirs)
    assert told == [(i + 1, len(met)) for i in range(len(met))]
    for name, (inputs, wanted, outputs) in met.items():
        torch.testing.assert_close(inputs, ours[name][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(outputs, ours[name][1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(wanted, theirs[name][1], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in subject.dense.state_dict().items())
    assert hooks_left(subject.dense) == hooks_left(subject.model) == 0


@pytest.mark.parametrize("fused", [False, True])
def test_what_is_changed_at_a_meeting_reaches_the_layers_after_it(fused: bool) -> None:
    subject, _ = pruned(fused=fused)
    images, met = pictures(3), {}

    def meet(meeting: Meeting) -> None:
        met[meeting.name] = meeting.inputs.clone()
        if meeting.name.startswith("model.2."):
            meeting.conv.weight *= 1.5
            meeting.shift(torch.linspace(-1, 1, len(meeting.conv.weight)))

    before = inputs_and_outputs(subject.model, images)
    side_by_side(subject.dense, subject.model, images, meet, ignore)
    changed = [name for name in met if not torch.equal(met[name], before[name][0])]
    assert "model.3.conv" in changed and "model.1.conv" not in changed
    for name, (inputs, _) in inputs_and_outputs(subject.model, images).items():
        torch.testing.assert_close(met[name], inputs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_shift_is_seen_in_the_outputs_and_moves_what_follows(fused: bool) -> None:
    subject, _ = pruned(fused=fused)
    by = torch.linspace(-1, 1, 8)

    def meet(meeting: Meeting) -> None:
        if meeting.name == "model.0.conv":
            before = meeting.outputs()
            meeting.shift(by)
            meeting.shift(by)
            torch.testing.assert_close(meeting.outputs() - before, (2 * by).view(-1, 1, 1).expand_as(before))

    before = stem_outputs(subject.model)
    side_by_side(subject.dense, subject.model, pictures(2), meet, ignore)
    moved = stem_outputs(subject.model) - before
    torch.testing.assert_close(moved, moved.mean(dim=(0, 2, 3), keepdim=True).expand_as(moved), atol=1e-4, rtol=1e-4)
    scale = stem_scale(subject.model)
    torch.testing.assert_close(moved.mean(dim=(0, 2, 3)), 2 * by * scale, atol=1e-4, rtol=1e-4)


def stem_outputs(model: Detector) -> torch.Tensor:
    """Before its activation."""
    stem = model.model[0]
    found: torch.Tensor = stem.conv(pictures(2))  # type: ignore[operator]
    return stem.bn(found) if isinstance(stem.bn, nn.BatchNorm2d) else found


def stem_scale(model: Detector) -> torch.Tensor:
    bn = model.model[0].bn
    return batchnorm_scale(bn) if isinstance(bn, nn.BatchNorm2d) else torch.ones(8)


def test_another_batchnorm_wants_other_outputs() -> None:
    """As after a repair that trained it, or measured it again."""
    subject, _ = pruned()
    generator = torch.Generator().manual_seed(0)
    for module in subject.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                values.mul_(0.5 + torch.rand(values.shape, generator=generator)).add_(0.1)
            module.weight[1] = 0.0  # which nothing can make up for
    modules = dict(copy.deepcopy(subject.dense).named_modules())  # without the hooks of the run
    asked: list[str] = []

    def meet(meeting: Meeting) -> None:
        if meeting.batchnorm is None:
            return
        asked.append(meeting.name)
        bn = modules[f"{meeting.name.removesuffix('conv')}bn"]
        dense = bn(dense_outputs[meeting.name])
        dense[:, 1] = meeting.batchnorm.bias[1]
        torch.testing.assert_close(meeting.batchnorm(meeting.wanted), dense, atol=1e-4, rtol=1e-4)
        conv = modules[meeting.name]
        assert isinstance(conv, nn.Conv2d)
        ratio = (meeting.wanted[:, 0].std() / dense_outputs[meeting.name][:, 0].std()).abs()
        torch.testing.assert_close(meeting.dense[0].abs(), ratio * conv.weight[0].abs(), atol=1e-4, rtol=1e-3)
        assert torch.isfinite(meeting.wanted).all()

    dense_outputs = {name: outputs for name, (_, outputs) in inputs_and_outputs(subject.dense, pictures(3)).items()}
    side_by_side(subject.dense, subject.model, pictures(3), meet, ignore)
    assert len(asked) == len(dense_outputs) - 3


def test_hooks_go_when_a_meeting_fails() -> None:
    subject, _ = pruned()

    def meet(_: Meeting) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        side_by_side(subject.dense, subject.model, pictures(1), meet, ignore)
    assert hooks_left(subject.dense) == hooks_left(subject.model) == 0


def test_objectness_is_the_highest_of_any_anchor_and_level_around_a_cell() -> None:
    model, images = live_model(), pictures(3)
    found = objectness(model, images)
    assert found.shape == (3, 8, 8)
    levels = [level[..., 4].sigmoid().amax(dim=1).numpy() for level in model(images)]
    finest = np.stack([level.repeat(8 // level.shape[1], 1).repeat(8 // level.shape[2], 2) for level in levels])
    highest = finest.max(axis=0)
    for image in range(3):
        for y in range(8):
            for x in range(8):
                around = highest[image, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
                assert float(found[image, y, x]) == pytest.approx(around.max(), abs=1e-5)
    assert 0 < float(found.min()) < float(found.max()) < 1
