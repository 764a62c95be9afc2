"""Whole lists of steps, as a run and a plan carry them out."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compressor.models.detector import Detector
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.apply import apply_steps, predict_steps
from compressor.modifiers.prune.scores import scaled_magnitude
from compressor.modifiers.state import Context, State
from compressor.modifiers.steps import Steps, resolve
from compressor.plan.layers import Layer, convolutions, outlined
from compressor.plan.outline import Tables
from compressor.progress import Progress, Silent
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers.step import Calibration
from compressor.results.changes import Change
from compressor.results.sensitivity import LayerLosses, SensitivityTable
from tests.modifiers.networks import CPU, live_model, pictures

FEW = "targets: [stem, 'model.2.*', 'model.18.*']"  # quick, and of every kind


def images(wanted: Calibration) -> Tensor:
    return pictures()[: wanted.images]


@dataclass(eq=False)
class Work:
    """A network, and what its steps are given beside it."""

    state: State
    tables: Tables

    def do(self, steps: Steps, progress: Progress | None = None, *, predict: bool = False) -> tuple[Change, ...]:
        """Apply the steps, or predict them."""
        carry_out = predict_steps if predict else apply_steps
        return carry_out(steps, self.state, Context(images, CPU, self.tables, progress or Silent()))


def read(path: Path, model: Detector, *lines: str, raw: Detector | None = None) -> tuple[Steps, Work]:
    """The steps of a recipe on the model."""
    path.write_text("version: 1\nmodifiers:\n" + "".join(f"  - {{{line}}}\n" for line in lines), encoding="utf-8")
    recipe_file = load_recipe(path)
    layers = convolutions(model, raw)
    losses = tuple(LayerLosses(x.name, x.role, x.weight.numel(), ((0.4, 1.0 + len(x.name)),)) for x in layers)
    tables = {"t.json": SensitivityTable("w", "0", "never", "magnitude", "output", False, "d", 1, 320, "train", losses)}
    steps = resolve(recipe_file.recipe.modifiers, outlined(layers, tables), recipe_file)
    return steps, Work(State.before(steps, model, raw or model), tables)


class Watch(Silent):
    """Remembers which weights of some layers are zero after each step."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers
        self.zeros: list[list[Tensor]] = []

    def note(self, text: str) -> None:
        self.zeros.append([layer.weight == 0 for layer in self.layers])


METHODS = st.sampled_from(["bias", "moments", "least_squares", "obs", "distill, steps: 2, crop: 64", "batchnorm"])
PRUNES = st.sampled_from(
    [
        "pattern: '2:4', ignore: [stem]",
        "allocation: uniform, sparsity: 0.4",
        "allocation: global, sparsity: 0.4, score: folded_magnitude",
        "allocation: lamp, sparsity: 0.4, score: raw_magnitude",
        "allocation: erk, sparsity: 0.4, score: random",
        "allocation: sensitivity, table: t.json, sparsity: 0.4, score: wanda",
    ]
)


@settings(max_examples=10, phases=[Phase.generate])
@given(PRUNES, METHODS, st.booleans())
def test_a_later_prune_revives_no_zero(
    tmp_path_factory: pytest.TempPathFactory, how: str, method: str, raw: bool
) -> None:
    model = live_model(fused=not raw and method != "batchnorm")
    prune, repair = f"type: prune, {FEW}, {how}", f"type: repair, method: {method}"
    few, last = f"{repair}, {FEW}", f"type: prune, {FEW}, allocation: uniform, sparsity: 0.7"
    steps, work = read(tmp_path_factory.getbasetemp() / "r.yaml", model, prune, few, last, raw=live_model())
    watch = Watch(work.state.layers(steps[1]))
    work.do(steps, watch)
    for pruned, repaired, pruned_again in zip(*watch.zeros, strict=True):
        assert int(pruned.sum()) == int(repaired.sum())
        assert method == "obs" or torch.equal(pruned, repaired)
        assert bool(pruned_again[repaired].all())
        assert int(pruned_again.sum()) == max(int(repaired.sum()), round(0.7 * repaired.numel()))
    assert any(bool(zeros.any()) for zeros in watch.zeros[0])


def test_a_plan_counts_what_a_run_does(tmp_path: Path) -> None:
    lines = (
        f"type: prune, {FEW}, allocation: global, sparsity: 0.3, score: wanda, calibration: {{images: 4}}",
        f"type: repair, {FEW}, calibration: {{images: 3}}",
        f"type: prune, {FEW}, allocation: erk, sparsity: 0.6",
    )
    counted, summaries = [], []
    for predict in (False, True):
        steps, work = read(tmp_path / "r.yaml", live_model(), *lines)
        changes = work.do(steps, predict=predict)
        counted.append([change.pruned for change in changes])
        summaries.append([change.summary for change in changes])
        assert sum(layer.zeros for layer in work.state.layers(steps[0])) == changes[-1].zeros
    assert counted[0] == counted[1] and counted[0][1] == 0 < counted[0][0] < counted[0][2]
    assert "least squares on 3 unlabelled images" in summaries[0][1] and summaries[0][0] == summaries[1][0]


def test_a_run_of_prunes_needs_no_copy_and_no_images(tmp_path: Path) -> None:
    model = live_model()
    steps, work = read(tmp_path / "r.yaml", model, "type: prune, allocation: uniform, sparsity: 0.3")

    def refuse(_: Calibration) -> Tensor:
        raise AssertionError

    state = State.before(steps, model, model)
    assert state.dense is None
    apply_steps(steps, state, Context(refuse, CPU))
    assert sum(layer.zeros for layer in convolutions(model)) == sum(
        round(0.3 * x.weight.numel()) for x in work.state.layers(steps[0])
    )


def test_wanda_looks_at_the_model_as_the_step_finds_it(tmp_path: Path) -> None:
    wanda = "type: prune, targets: ['model.2.cv3.conv'], allocation: uniform, sparsity: 0.5, score: wanda"
    emptied = "type: prune, targets: ['model.2.cv2.conv'], allocation: uniform, sparsity: 0.9"
    kept = []
    for lines in ((wanda,), (emptied, wanda)):
        steps, work = read(tmp_path / "r.yaml", live_model(), *lines)
        work.do(steps)
        kept.append(work.state.layers(steps[-1])[0].weight != 0)
    assert not torch.equal(*kept)


def test_every_repair_aims_at_the_model_before_all_steps(tmp_path: Path) -> None:
    model, dense = live_model(fused=True), live_model(fused=True)
    lines = ("type: prune, allocation: uniform, sparsity: 0.2", "type: prune, allocation: uniform, sparsity: 0.5")
    steps, work = read(tmp_path / "r.yaml", model, lines[0], "type: repair, method: bias", *lines[1:])
    bias = steps[1]
    work.do((*steps, bias))
    for ours, theirs in zip(model(pictures()), dense(pictures()), strict=True):
        found, wanted = ours.mean(dim=(0, 2, 3)), theirs.mean(dim=(0, 2, 3))
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_a_score_sees_batchnorm_as_a_repair_left_it(tmp_path: Path) -> None:
    model = live_model()
    before = "type: prune, allocation: uniform, sparsity: 0.2"
    after = "type: prune, allocation: global, sparsity: 0.5, score: folded_magnitude"
    steps, work = read(tmp_path / "r.yaml", model, before, "type: repair, method: batchnorm", after)
    work.do(steps[:2])
    scores = [scaled_magnitude(layer, folded=True) for layer in convolutions(model)]
    everything = torch.cat([torch.from_numpy(each) for each in scores])
    threshold = everything.sort().values[round(0.5 * everything.numel())]
    work.do(steps[2:])
    folded = fuse(model)
    kept = torch.cat([layer.weight.view(-1) for layer in convolutions(folded)])
    assert float(kept[kept != 0].abs().min()) == pytest.approx(float(threshold), rel=1e-4)


def test_a_repair_is_told_the_pattern_that_a_layer_was_pruned_to(tmp_path: Path) -> None:
    lines = (
        "type: prune, targets: [neck], pattern: '2:4'",
        "type: prune, targets: [backbone], allocation: uniform, sparsity: 0.3",
        "type: repair, method: bias",
        "type: prune, targets: ['model.23.*'], allocation: uniform, sparsity: 0.7",
    )
    steps, work = read(tmp_path / "r.yaml", live_model(), *lines)
    work.do(steps, predict=True)
    found = work.state.groups
    assert found["model.13.cv1.conv"] == found["model.23.cv1.conv"] == 4  # it still holds after the last
    assert "model.1.conv" not in found and "model.0.conv" not in found


def test_obs_keeps_a_pattern_through_a_later_prune(tmp_path: Path) -> None:
    model = live_model()
    where = "targets: ['model.2.*']"
    lines = (
        f"type: prune, {where}, pattern: '2:4'",
        f"type: prune, {where}, allocation: uniform, sparsity: 0.6",
        f"type: repair, method: obs, {where}",
    )
    steps, work = read(tmp_path / "r.yaml", model, *lines)
    work.do(steps)
    for layer in work.state.layers(steps[0]):
        assert layer.zeros == round(0.6 * layer.weight.numel())
        for start in range(0, layer.weight.shape[1], 4):
            assert int((layer.weight[:, start : start + 4] != 0).sum(dim=1).max()) <= 2


def test_what_is_zero_after_a_repair_stays_zero_through_obs(tmp_path: Path) -> None:
    model = live_model()
    lines = (
        "type: prune, allocation: uniform, sparsity: 0.4",
        "type: repair, method: least_squares",
        "type: prune, allocation: uniform, sparsity: 0.6",
        "type: repair, method: obs",
    )
    steps, work = read(tmp_path / "r.yaml", model, *lines)
    work.do(steps[:2])
    settled = {layer.name: layer.weight == 0 for layer in work.state.layers(steps[0])}
    model = live_model()
    steps, work = read(tmp_path / "r.yaml", model, *lines)
    work.do(steps)
    assert all(bool((layer.weight[settled[layer.name]] == 0).all()) for layer in work.state.layers(steps[0]))
    assert all(layer.zeros == round(0.6 * layer.weight.numel()) for layer in work.state.layers(steps[0]))


def test_obs_after_a_pattern_keeps_the_pattern(tmp_path: Path) -> None:
    model = live_model()
    pattern, obs = "type: prune, targets: ['model.2.*'], pattern: '2:4'", "type: repair, method: obs"
    steps, work = read(tmp_path / "r.yaml", model, pattern, f"{obs}, targets: ['model.2.*']")
    work.do(steps)
    for layer in work.state.layers(steps[0]):
        for start in range(0, layer.weight.shape[1], 4):
            kept = (layer.weight[:, start : start + 4] != 0).sum(dim=1)
            assert bool((kept == 2).all())


@pytest.mark.parametrize("patterns", [("2:3", "2:4"), ("3:4", "2:3")])
def test_obs_keeps_every_pattern_of_a_layer(tmp_path: Path, patterns: tuple[str, str]) -> None:
    lines = [f"type: prune, targets: ['model.2.*'], pattern: '{pattern}'" for pattern in patterns]
    lines.append("type: repair, method: obs, targets: ['model.2.*']")
    steps, work = read(tmp_path / "r.yaml", live_model(), *lines)
    work.do(steps)
    for n, m in (map(int, pattern.split(":")) for pattern in patterns):
        for layer in work.state.layers(steps[0]):
            for start in range(0, layer.weight.shape[1] // m * m, m):
                assert int((layer.weight[:, start : start + m] != 0).sum(dim=1).max()) <= n


def test_obs_moves_zeros_of_layers_that_an_earlier_repair_left_alone(tmp_path: Path) -> None:
    first, second = (
        "type: repair, method: obs, targets: ['model.2.*']",
        "type: repair, method: obs, targets: [detect]",
    )
    lines = ("type: prune, allocation: uniform, sparsity: 0.5", first, second)
    steps, work = read(tmp_path / "r.yaml", live_model(), *lines)
    watch = Watch(work.state.layers(steps[2]))
    work.do(steps, watch)
    pruned, between, after = watch.zeros
    assert all(torch.equal(old, new) for old, new in zip(pruned, between, strict=True))
    assert any(not torch.equal(old, new) for old, new in zip(between, after, strict=True))


def test_the_model_keeps_its_modules(tmp_path: Path) -> None:
    """A budget tries many sparsities on one model, so nothing may be left on it."""
    model = live_model()
    before = {name: type(module) for name, module in model.named_modules()}
    lines = (f"type: prune, {FEW}, allocation: uniform, sparsity: 0.3", f"type: repair, {FEW}, method: moments")
    steps, work = read(tmp_path / "r.yaml", model, *lines)
    work.do(steps)
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert not any(isinstance(each, nn.Parameter) and each.requires_grad for each in model.parameters())
