import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from compressor.errors import DatasetError, InputError, PlanError, RecipeError, RunError
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.modifiers import Prune
from compressor.recipe.modifiers.step import Calibration
from compressor.results.sensitivity import LayerLosses, SensitivityTable, table_text
from compressor.run.calibration import CalibrationImages
from compressor.run.job import Job, check_unseen, modify, open_job, predict, storage, with_number
from tests.data.images import write_image
from trials.tiny import tiny_data, tiny_model, tiny_weights

CPU = torch.device("cpu")


class Heard(Silent):
    """Remembers the steps it is told of."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.titles.append(title)
        yield


def recipe(folder: Path, *steps: str, fuse: str = "before", data: str | None = "other") -> RecipeFile:
    """A recipe for the tiny weights, with another folder of images to calibrate with."""
    path = folder / "r.yaml"
    lines = ["version: 1", f"model: {{weights: {folder / 'tiny.safetensors'}, fuse: {fuse}}}"]
    lines += [f"data: {folder / data}"] if data else []
    lines += ["modifiers:", *(f"  - {{type: {step}}}" for step in steps or (HALF,))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_recipe(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    for i in range(5):
        write_image(tmp_path / "other" / f"{i}.png", seed=i)
    return tmp_path


def images(folder: Path, recipe_file: RecipeFile, progress: Silent | None = None) -> CalibrationImages:
    """Of which those of the tiny data set are judged."""
    return CalibrationImages(recipe_file, sorted((folder / "images").iterdir()), 32, progress or Silent())


def test_images_come_from_the_step_or_else_from_the_recipe(folder: Path) -> None:
    found = images(folder, recipe(folder))
    assert {path.parent.name for path in found.files(Calibration(images=3))} == {"other"}
    wanted = Calibration(data=str(folder / "tiny.yaml"), judged=True, split="val")
    assert {path.parent.name for path in found.files(wanted)} == {"images"}
    with pytest.raises(RecipeError) as error:
        images(folder, recipe(folder, data=None)).files(Calibration())
    assert error.value.diagnostics[0].code == "R112"


def test_images_that_are_judged_on_are_refused(folder: Path) -> None:
    found = images(folder, recipe(folder, data="tiny.yaml"))
    with pytest.raises(DatasetError) as error:
        found.files(Calibration(images=4, split="val"))
    (fault,) = error.value.diagnostics
    assert fault.code == "D411" and "4 of the 4" in fault.message
    assert len(found.files(Calibration(images=4, split="val", judged=True))) == 4
    assert len(found.files(Calibration(images=4))) == 4


def test_one_judged_image_among_others_is_found_even_by_another_name(folder: Path) -> None:
    (folder / "other" / "9.png").symlink_to(folder / "images" / "003.png")
    found = images(folder, recipe(folder))
    with pytest.raises(DatasetError, match=r"1 of the 6 .* such as 9\.png"):
        found.files(Calibration())
    drawn = [seed for seed in range(20) if not judged(found, Calibration(images=2, seed=seed))]
    assert drawn and len(drawn) < 20  # only what is drawn counts


def judged(found: CalibrationImages, wanted: Calibration) -> bool:
    try:
        return not found.files(wanted)
    except DatasetError:
        return True


def test_images_are_read_once_as_long_as_the_same_are_asked_for(folder: Path) -> None:
    heard = Heard()
    found = images(folder, recipe(folder), heard)
    first = found(Calibration(images=3, image_size=70))
    assert first.shape == (3, 3, 96, 96) and 0 <= float(first.min()) < float(first.max()) <= 1  # of whole strides
    assert found(Calibration(images=3, image_size=70)) is first
    assert found(Calibration(images=2, image_size=70)).shape == (2, 3, 96, 96)
    assert heard.titles == ["read 3 calibration images", "read 2 calibration images"]


def test_the_seed_decides_which_are_read(folder: Path) -> None:
    found = images(folder, recipe(folder))
    one, other, again = (found(Calibration(images=2, image_size=64, seed=seed)) for seed in (0, 1, 0))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_what_a_step_asks_for_is_checked_before_any_work(folder: Path) -> None:
    steps = ("prune, allocation: uniform, sparsity: 0.5", "repair, calibration: {data: nowhere}")
    with pytest.raises(DatasetError) as error:
        images(folder, recipe(folder, *steps)).check()
    assert error.value.diagnostics[0].code == "D402"
    images(folder, recipe(folder, steps[0], "repair")).check()


def test_an_image_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / "other" / "0.png").write_bytes(b"no image")
    with pytest.raises(DatasetError) as error:
        images(folder, recipe(folder))(Calibration())
    assert error.value.diagnostics[0].code == "D405"


def opened(folder: Path, *steps: str, fuse: str = "before") -> Job:
    return open_job(recipe(folder, *steps, fuse=fuse), Silent())


HALF = "prune, allocation: uniform, sparsity: 0.5"
BIAS = "repair, method: bias, calibration: {images: 3, image_size: 64}"


@pytest.mark.parametrize(("fuse", "folded_for_steps"), [("before", True), ("after", False), ("never", False)])
def test_steps_find_the_model_as_the_recipe_says(folder: Path, fuse: str, folded_for_steps: bool) -> None:
    job = opened(folder, HALF, BIAS, fuse=fuse)
    assert job.model.fused == folded_for_steps and not job.unfused.fused
    assert all((layer.scale is None) == (layer.role == "detect") for layer in convolutions(job.model, job.unfused))
    modified = modify(job, images(folder, job.recipe_file), CPU, Silent())
    changes = modified.changes
    assert job.model.fused == (fuse != "never")
    assert [change.modifier for change in changes] == ["prune", "repair"]
    assert sum(layer.zeros for layer in convolutions(job.model)) == changes[0].pruned == changes[1].zeros
    stored, warnings = storage(job, modified)
    assert warnings == [] and stored.network is job.model  # a repaired model has other weights than its source


def test_what_is_predicted_is_counted_alike_and_needs_no_images(folder: Path) -> None:
    done, told = opened(folder, HALF, BIAS), opened(folder, HALF, BIAS)
    changes = modify(done, images(folder, done.recipe_file), CPU, Silent()).changes
    for image in (folder / "other").iterdir():
        image.unlink()
    predicted = predict(told, images(folder, told.recipe_file), CPU, Silent()).changes
    assert [change.layers for change in predicted] == [change.layers for change in changes]
    assert [layer.zeros for layer in convolutions(told.model)] == [layer.zeros for layer in convolutions(done.model)]


def test_every_sparsity_starts_from_the_model_as_it_was(folder: Path) -> None:
    job = opened(folder, "prune, allocation: lamp, sparsity: {size: 60%}", BIAS)
    source = copy.deepcopy(job.unfused)
    for sparsity in (0.8, 0.3):
        tried = with_number(job, 0, sparsity)
        assert all(layer.zeros == 0 for layer in convolutions(tried.model))
        assert isinstance(tried.recipe.modifiers[0], Prune) and tried.recipe.modifiers[0].sparsity == sparsity
        modify(tried, images(folder, job.recipe_file), CPU, Silent())
        total = sum(layer.weight.numel() for layer in convolutions(tried.model))
        assert sum(layer.zeros for layer in convolutions(tried.model)) == round(sparsity * total)
    assert all(layer.zeros == 0 for layer in convolutions(job.model))
    left = job.unfused.state_dict()
    assert all(torch.equal(value, left[name]) for name, value in source.state_dict().items())


def test_tables_stand_beside_the_recipe(folder: Path) -> None:
    step = "prune, allocation: sensitivity, table: t.json, sparsity: 0.5"
    with pytest.raises(InputError) as error:
        opened(folder, step)
    assert error.value.diagnostics[0].code == "U907"
    layers = convolutions(tiny_model())
    losses = tuple(LayerLosses(x.name, x.role, x.weight.numel(), ((0.6, 1.0),)) for x in layers)
    table = SensitivityTable("tiny", "0", "before", "magnitude", "output", False, "d", 1, 320, "train", losses)
    (folder / "t.json").write_text(table_text(table))
    job = opened(folder, step)
    assert job.tables == {"t.json": table}
    searched = opened(folder, step.replace("0.5", "{size: 60%}"))
    assert with_number(searched, 0, 0.3).tables == job.tables
    (change,) = modify(job, images(folder, job.recipe_file), CPU, Silent()).changes
    assert change.pruned == round(0.5 * sum(layer.weight.numel() for layer in layers))
    (folder / "t.json").write_text(json.dumps({**json.loads(table_text(table)), "layers": []}))
    with pytest.raises(PlanError) as other:
        opened(folder, step)
    assert other.value.diagnostics[0].code == "P210"


def test_a_recipe_without_weights_is_refused(folder: Path) -> None:
    path = folder / "r.yaml"
    path.write_text(f"version: 1\nmodifiers: [{{type: {HALF}}}]\n")
    with pytest.raises(RecipeError) as error:
        open_job(load_recipe(path), Silent())
    assert error.value.diagnostics[0].code == "R111"


def test_a_zero_that_comes_to_life_is_a_fault(folder: Path) -> None:
    job = opened(folder, HALF)
    modified = modify(job, images(folder, job.recipe_file), CPU, Silent())
    weight = convolutions(job.model)[4].weight
    weight[weight == 0] = 1.0
    with pytest.raises(RunError) as error:
        storage(job, modified)
    assert error.value.diagnostics[0].code == "E802"


def test_kept_weights_too_small_for_the_file_are_told(folder: Path) -> None:
    job = opened(folder, HALF, BIAS)
    modified = modify(job, images(folder, job.recipe_file), CPU, Silent())
    layer = convolutions(job.model)[4]
    layer.weight[layer.weight != 0] = 1e-12
    _, warnings = storage(job, modified)
    kept = layer.weight.numel() - round(0.5 * layer.weight.numel())
    assert warnings == [f"{kept:,} kept weights are too small for float16 and became zero"]


def test_a_copy_of_a_judged_image_is_found_by_its_bytes(folder: Path) -> None:
    (folder / "other" / "8.png").write_bytes((folder / "images" / "003.png").read_bytes())
    with pytest.raises(DatasetError, match=r"1 of the 6 .* such as 8\.png"):
        images(folder, recipe(folder)).files(Calibration())


def test_an_artifact_is_not_judged_on_what_repaired_it(folder: Path) -> None:
    made_by = recipe(folder, HALF, "repair, calibration: {images: 3}", data="tiny.yaml").recipe.model_dump(mode="json")
    seen, unseen = (sorted((folder / name).glob("*.png")) for name in ("train", "images"))
    check_unseen(made_by, unseen, "tiny.yaml")
    with pytest.raises(DatasetError) as error:
        check_unseen(made_by, seen, "tiny.yaml")
    (fault,) = error.value.diagnostics
    assert (fault.code, fault.path) == ("D411", "tiny.yaml")
    assert fault.message.startswith("3 of the images by which the model was repaired are judged on, such as ")
    check_unseen({**made_by, "data": "gone.yaml"}, seen, "tiny.yaml")  # they cannot be known
    check_unseen({**made_by, "modifiers": "x"}, seen, "tiny.yaml")
    check_unseen(None, seen, "tiny.yaml")
