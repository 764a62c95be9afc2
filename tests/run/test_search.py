"""Budgets become sparsities: sizes on real files, AP with a judge whose verdict is known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from compressor.data.dataset import load_dataset, read_split
from compressor.errors import InputError, RecipeError
from compressor.evaluation.evaluate import Evaluator, make_evaluator
from compressor.evaluation.network import Network
from compressor.models.detector import Detector
from compressor.models.yolov5 import describe
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.modifiers import Prune
from compressor.recipe.schema import Evaluation
from compressor.run import pipeline
from compressor.run.calibration import CalibrationImages
from compressor.run.job import open_job
from compressor.run.readiness import Options
from compressor.run.search import Seeker, lowest_step, out_of_reach
from trials.tiny import tiny_data, tiny_weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gflops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting GFLOPs takes longer than all the rest."""
    monkeypatch.setattr(describe, "count_gflops", lambda _: 0.0)


def asking(folder: Path, budget: dict[str, Any], *more: dict[str, Any], **prune: Any) -> RecipeFile:
    tiny_weights(folder)
    tiny_data(folder / "data", images=6)
    values = {
        "version": 1,
        "model": {"weights": str(folder / "tiny.safetensors")},
        "data": str(folder / "data" / "tiny.yaml"),
        "modifiers": [{"type": "prune", "allocation": "lamp", "sparsity": budget, **prune}, *more],
        "evaluation": {"image_size": 64},
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_recipe(file)


REPAIR = {"type": "repair", "method": "bias", "calibration": {"images": 2, "image_size": 64}}


@pytest.mark.parametrize("size", ["150kB", "60%"])
@pytest.mark.parametrize("more", [(), (REPAIR,)], ids=["prune", "prune and repair"])
def test_size_is_kept_and_a_step_less_would_be_too_large(
    tmp_path: Path, size: str, more: tuple[dict[str, Any], ...]
) -> None:
    recipe_file = asking(tmp_path, {"size": size}, *more)
    record = pipeline.run(recipe_file, Options(tmp_path / "run", "cpu", evaluate=False), Silent())
    assert record.search is not None
    assert record.recipe["modifiers"][0]["sparsity"] == record.search.sparsity
    tries = {each.sparsity: each.size_bytes for each in record.search.tries}
    written = (tmp_path / "run" / "model.safetensors").stat().st_size
    limit = 150_000 if size == "150kB" else 0.6 * record.sizes.dense.size_bytes
    assert written == tries[record.search.sparsity]
    assert written <= limit
    less = round(record.search.sparsity - 0.001, 3)
    assert (tries[less] or 0) > written


def test_plan_settles_a_size_and_says_what_it_comes_to(tmp_path: Path) -> None:
    planned = pipeline.plan(
        asking(tmp_path, {"size": "150kB"}), Options(tmp_path / "run", "cpu"), Silent(), timed=False
    )
    (size,) = [each.size_bytes for each in planned.sizes if (each.dtype, each.layout) == ("float16", "bitmask")]
    assert 149_000 < size <= 150_000


@pytest.mark.parametrize("size", ["1kB", "5GB", "100%"])
def test_size_out_of_reach(tmp_path: Path, size: str) -> None:
    with pytest.raises(InputError, match=r"recipe.yaml:\d+:\d+: U905 a file of .* is out of reach"):
        pipeline.plan(asking(tmp_path, {"size": size}), Options(tmp_path / "run", "cpu"), Silent(), timed=False)


@pytest.mark.parametrize("evaluate", [False, None], ids=["apply --no-evaluate", "plan"])
def test_a_budget_of_ap_needs_judging(tmp_path: Path, evaluate: bool | None) -> None:
    recipe_file = asking(tmp_path, {"ap_drop": 0.01})
    with pytest.raises(RecipeError, match=r"(?s)R120 .*--set modifiers.0.sparsity=0.5") as caught:
        if evaluate is None:
            pipeline.plan(recipe_file, Options(tmp_path / "run", "cpu"), Silent(), timed=False)
        else:
            pipeline.run(recipe_file, Options(tmp_path / "run", "cpu", evaluate=evaluate), Silent())
    assert "recipe.yaml:" in str(caught.value)


@dataclass(frozen=True)
class KnownEvaluator(Evaluator):
    """Says of a model what a function of its sparsity says, and keeps count."""

    verdict: Callable[[float, int], float | None] = lambda _sparsity, _images: None
    asked: list[tuple[float, int]] = field(default_factory=list)

    def evaluate(self, model: Detector | Network, progress: Any, title: str, *, resampled: bool = False) -> Any:
        assert isinstance(model, Detector)
        layers = convolutions(model)
        zeros = sum(layer.zeros for layer in layers) / sum(layer.weight.numel() for layer in layers)
        images = len(self.split.samples)
        self.asked.append((round(zeros, 2), images))
        coco = SimpleNamespace(AP=self.verdict(zeros, images))
        return SimpleNamespace(metrics=SimpleNamespace(coco=coco)), None


def seek(recipe_file: RecipeFile, verdict: Callable[[float, int], float | None]) -> tuple[Seeker, KnownEvaluator]:
    job = open_job(recipe_file, Silent())
    split = read_split(load_dataset(str(recipe_file.recipe.data)), "val")
    real = make_evaluator(split, Evaluation(image_size=64), CPU)
    evaluator = KnownEvaluator(real.split, real.ground_truth, real.settings, real.device, verdict)
    return Seeker(job, CalibrationImages(recipe_file, [], 32, Silent()), CPU, Silent()), evaluator


def test_the_highest_sparsity_within_the_budget_is_found(tmp_path: Path) -> None:
    def verdict(zeros: float, _images: int) -> float:
        return 0.5 - max(0.0, zeros - 0.3)  # a drop of 0.1 at 40 %

    seeker, evaluator = seek(asking(tmp_path, {"ap_drop": 0.105, "images": 6}), verdict)
    job, search = seeker.by_ap(evaluator, None)
    assert search.sparsity == 0.4
    first = job.recipe.modifiers[0]
    assert isinstance(first, Prune) and first.sparsity == 0.4
    assert len(evaluator.asked) == len(set(evaluator.asked)) <= 9  # nothing is judged twice
    assert search.baseline_AP == 0.5


def test_the_dense_model_is_not_judged_again(tmp_path: Path) -> None:
    seeker, evaluator = seek(asking(tmp_path, {"ap_drop": 0.1, "images": 6}), lambda zeros, _: 0.5 - zeros)
    assert seeker.by_ap(evaluator, 0.5)[1].sparsity == 0.1
    assert (0.0, 6) not in evaluator.asked


@pytest.mark.parametrize(
    ("on_all_images", "asked"),
    [(0.4, [0.4]), (0.39, [0.4, 0.39]), (0.37, [0.4, 0.39, 0.37, 0.38]), (0.17, [0.4, 0.39, 0.37, 0.33, 0.25, 0.09])],
)
def test_what_the_part_allows_is_confirmed_on_all_images(
    tmp_path: Path, on_all_images: float, asked: list[float]
) -> None:
    def verdict(zeros: float, images: int) -> float:
        return 0.5 - max(0.0, zeros - (0.4 if images == 2 else on_all_images))

    seeker, evaluator = seek(asking(tmp_path, {"ap_drop": 0.005, "images": 2}), verdict)
    _, search = seeker.by_ap(evaluator, 0.5)
    assert search.sparsity == on_all_images
    on_all = [each.sparsity for each in search.tries if each.images == 6]
    assert on_all[: len(asked)] == asked
    assert len(on_all) <= len(asked) + 4 and on_all_images in on_all


def test_nothing_within_the_budget(tmp_path: Path) -> None:
    def verdict(zeros: float, _images: int) -> float:
        return 0.5 if zeros < 0.005 else 0.1

    seeker, evaluator = seek(asking(tmp_path, {"ap_drop": 0.01, "images": 6}), verdict)
    with pytest.raises(InputError, match=r"U910 even 0\.01 of sparsity loses more than 0\.01 AP"):
        seeker.by_ap(evaluator, None)


def test_images_without_objects(tmp_path: Path) -> None:
    seeker, evaluator = seek(asking(tmp_path, {"ap_drop": 0.01}), lambda _zeros, _images: None)
    with pytest.raises(InputError, match="U910 AP is undefined"):
        seeker.by_ap(evaluator, None)


def test_a_model_that_finds_nothing_settles_no_budget(tmp_path: Path) -> None:
    seeker, evaluator = seek(asking(tmp_path, {"ap_drop": 0.01}), lambda _zeros, _images: 0.0)
    for baseline in (None, 0.0):  # else 99 % of sparsity would lose little enough
        with pytest.raises(InputError, match="U910 AP of the model before is 0: it finds nothing"):
            seeker.by_ap(evaluator, baseline)


def test_a_whole_run_with_a_budget_of_ap(tmp_path: Path) -> None:
    recipe_file = asking(tmp_path, {"ap_drop": 0.5, "images": 3}, REPAIR)
    record = pipeline.run(recipe_file, Options(tmp_path / "run", "cpu"), Silent())
    assert record.search is not None and record.search.sparsity == 0.99  # a random model has no AP to lose
    assert record.search.goal == "at most 0.5 AP lost"
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "The sparsity 99 % was found for the budget of at most 0.5 AP lost" in report
    assert "| before the modifiers |" in report


BESIDE: list[list[dict[str, Any]]] = [
    [{"sparsity": 0.7, "targets": ["stem"]}, {"sparsity": {"size": "80%"}}],
    [{"sparsity": 0.1}, REPAIR, {"sparsity": {"size": "70%"}}],
    [{"sparsity": {"size": "80%"}, "targets": ["backbone"]}, {"sparsity": 0.2, "targets": ["neck"]}],
]


@pytest.mark.parametrize("steps", BESIDE, ids=["after a prune", "after a repair", "before a prune"])
def test_a_budget_beside_other_prunes(tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    asking(tmp_path, {"size": "1kB"})
    values = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    prune = {"type": "prune", "allocation": "uniform"}
    values["modifiers"] = [step if step is REPAIR else prune | step for step in steps]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    recipe_file = load_recipe(tmp_path / "recipe.yaml")
    record = pipeline.run(recipe_file, Options(tmp_path / "run", "cpu", evaluate=False), Silent())
    assert record.search is not None
    tries = {each.sparsity: each.size_bytes for each in record.search.tries}
    assert (tmp_path / "run" / "model.safetensors").stat().st_size == tries[record.search.sparsity]


def test_a_repair_that_changes_nothing_leaves_the_size_as_planned(tmp_path: Path) -> None:
    repair = {**REPAIR, "targets": ["stem"]}
    recipe_file = asking(tmp_path, {"size": "80%"}, repair, targets=["neck"])
    record = pipeline.run(recipe_file, Options(tmp_path / "run", "cpu", evaluate=False), Silent())
    assert record.search is not None
    tries = {each.sparsity: each.size_bytes for each in record.search.tries}
    assert (tmp_path / "run" / "model.safetensors").stat().st_size == tries[record.search.sparsity]


@pytest.mark.parametrize("lowest", [1, 2, 500, 989, 990])
def test_the_lowest_step_that_fits(lowest: int) -> None:
    assert lowest_step(lambda step: step >= lowest, 990) == lowest


def test_the_range_of_sizes_is_rounded_inwards() -> None:
    told = out_of_reach(1000, smallest=100_001, unpruned=200_000)
    assert told == "a file of 0.001 MB is out of reach: pruning this model gives 0.101 to 0.199 MB"
