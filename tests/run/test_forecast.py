"""What a plan tells of a run is what the run then does: sizes, zeros, and every step in the forecast of its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compressor.artifact.save import Form, Provenance, encode_model, round_to_dtype
from compressor.evaluation import evaluate
from compressor.models.yolov5 import describe
from compressor.progress import Silent
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.overrides import Override, parse_set
from compressor.results.run import Timing
from compressor.run import forecast, pipeline, stages
from compressor.run import report as run_report
from compressor.run import search as budget
from compressor.run.readiness import Options
from trials.tiny import tiny_data, tiny_model, tiny_recipe, tiny_weights

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    tiny_weights(folder)
    tiny_data(folder, images=3)
    model = tiny_model()
    round_to_dtype(model, "float16")
    made = encode_model(model, Form("float16", "dense"), Provenance({}, "half", "0" * 64))
    (folder / "half.safetensors").write_bytes(made)  # which the file holds unfolded
    return folder


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longest and decides neither sizes nor zeros nor the names of steps."""
    monkeypatch.setattr(forecast, "inference_seconds", lambda *_: 0.01)
    monkeypatch.setattr(describe, "count_gflops", lambda _: 0.0)
    monkeypatch.setattr(evaluate, "resample", lambda _: None)
    monkeypatch.setattr(stages, "time_in_turns", lambda *_: Timing(64, (1.0,), (1.0,)))
    monkeypatch.setattr(budget, "SIZE_STEPS", 20)
    monkeypatch.setattr(run_report, "pictures", lambda _: ())


def lightened(recipe: Path) -> RecipeFile:
    """A shipped recipe with tiny weights and few small images."""
    sets = [parse_set(f"evaluation.{key}") for key in ("image_size=64", "batch_size=4", "split=val")]
    sets.append(parse_set("report.examples=0"))
    for i, modifier in enumerate(load_recipe(recipe).recipe.modifiers):
        if modifier.images is not None:
            sets += [parse_set(f"modifiers.{i}.calibration.{key}") for key in ("images=3", "image_size=64")]
        if getattr(modifier, "crop", None) is not None:
            sets.append(parse_set(f"modifiers.{i}.crop=64"))
    weights = Override(("model", "weights"), "half.safetensors", "--weights", literal=True)
    return load_recipe(recipe, (*sets, weights, Override(("data",), "tiny.yaml", "--data", literal=True)))


def distinct() -> Iterator[Path]:
    """Shipped recipes that still differ with the same weights and data."""
    seen = set()
    for recipe in sorted(RECIPES.glob("*.yaml")):
        text = json.dumps(lightened(recipe).recipe.model_dump(mode="json", exclude={"description"}))
        if text not in seen:
            seen.add(text)
            yield recipe


def check(recipe_file: RecipeFile, folder: Path) -> None:
    options = Options(folder / "run", "cpu")
    planned = pipeline.plan(recipe_file, options, Silent())
    assert len(planned.steps) == len(recipe_file.recipe.modifiers)
    assert all(step.pruned or not step.prunes for step in planned.steps)
    run = pipeline.run(recipe_file, options, Silent())
    sizes = {(each.dtype, each.layout): each.size_bytes for each in planned.sizes}
    assert (planned.dtype, planned.layout) == (run.recipe["artifact"]["dtype"], run.recipe["artifact"]["layout"])
    assert sizes[planned.dtype, planned.layout] == run.sizes.artifact.size_bytes
    assert sizes[planned.dtype, "dense"] == run.sizes.dense.size_bytes
    told, done = ([[each.zeros_after for each in change.layers] for change in x] for x in (planned.steps, run.changes))
    assert told == done
    assert planned.sparsity == run.sparsity
    assert planned.refused == ()
    forecast_steps = {step for stage in planned.times for step in stage.steps}
    assert {step.name for step in run.steps} - {""} == forecast_steps


@pytest.mark.parametrize("recipe", list(distinct()), ids=lambda path: path.stem)
def test_plan_and_run_agree_on_every_shipped_recipe(
    recipe: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    check(lightened(recipe), tmp_path)


@pytest.mark.parametrize(
    "sets",
    [
        ["exports=[{format: torchscript}, {format: yolov5, evaluate: false}]"],
        ["evaluation.baseline=false"],
        ["modifiers.0.sparsity={size: 80%}"],
        ["model.fuse=after", "artifact.dtype=float32"],
        ["model.weights=half.safetensors", "artifact.layout=dense"],
    ],
)
def test_plan_and_run_agree_on_other_settings(
    sets: list[str], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    check(load_recipe(tiny_recipe(tmp_path), tuple(map(parse_set, sets))), tmp_path)


@pytest.mark.parametrize("sets", [(), ("artifact.layout=dense",)])
def test_the_dense_file_is_the_one_that_the_recipe_would_write(
    sets: tuple[str, ...], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    dense = load_recipe(tiny_recipe(tmp_path), (parse_set("artifact.layout=dense"),))
    written = pipeline.run(dense, Options(tmp_path / "dense", "cpu", evaluate=False), Silent())
    run = pipeline.run(
        load_recipe(tiny_recipe(tmp_path), tuple(map(parse_set, sets))),
        Options(tmp_path / "run", "cpu", evaluate=False),
        Silent(),
    )
    assert run.sizes.dense == written.sizes.artifact == written.sizes.dense
