"""A run that is killed within its steps goes on from the last finished step, or from the last part of a long one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from compressor.files.store import Steps
from compressor.progress import Silent
from compressor.run import step_cache
from compressor.run.job import modify, open_job
from tests.data.images import write_image
from tests.run.test_job import CPU, images, recipe
from trials.tiny import tiny_data, tiny_weights

PRUNE = "prune, allocation: uniform, sparsity: 0.5"
BIAS = "repair, method: bias, calibration: {images: 3, image_size: 64}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    for i in range(5):
        write_image(tmp_path / "other" / f"{i}.png", seed=i)
    return tmp_path


class KilledError(Exception):
    """Stands for a kill."""


class KilledAt(Silent):
    """Ends at a unit of the steps whose titles begin so; and remembers what was done."""

    def __init__(self, title: str = "", unit: int = 0) -> None:
        self.title, self.unit = title, unit
        self.seen: list[str] = []
        self.first: dict[str, int] = {}  # unit that each step reported first

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.seen.append(title)
        yield

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
        self.seen.append(title)

        def update(done: int, _total: int | None) -> None:
            self.first.setdefault(title, done)
            if self.title and title.startswith(self.title) and done >= self.unit:
                raise KilledError

        yield update


def finished(place: Path, cache: Path | None, progress: KilledAt, *steps: str) -> dict[str, torch.Tensor]:
    """The tensors after all steps."""
    job = open_job(recipe(place, *steps), Silent())
    store = Steps(cache, resume=True, progress=progress) if cache else None
    modified = modify(job, images(place, job.recipe_file), CPU, progress, store)
    assert [change.modifier for change in modified.changes] == [step.split(",")[0] for step in steps]
    return modified.state.model.state_dict()


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_finished_step_is_not_done_again(place: Path, tmp_path: Path) -> None:
    steps = (
        PRUNE,
        "repair, method: obs, crop: 64, calibration: {images: 3, image_size: 64}",
        PRUNE.replace("5", "6"),
        BIAS,
    )
    whole = finished(place, None, KilledAt(), *steps)
    with pytest.raises(KilledError):
        finished(place, tmp_path / "cache", KilledAt("repair: bias", 3), *steps)
    last = KilledAt()
    assert same(finished(place, tmp_path / "cache", last, *steps), whole)
    assert [each for each in last.seen if each.startswith(("repair", "step", "prune"))] == [
        "step 2, repair: obs, which chooses the zeros anew: kept",
        "prune",
        "repair: bias",
    ]
    other = KilledAt()
    finished(place, tmp_path / "cache", other, PRUNE.replace("5", "4"), *steps[1:])
    assert not any("kept" in each for each in other.seen)  # the key of a step holds those before it


@pytest.mark.parametrize("method", ["bias", "least_squares", "obs, damping: 0.1", "distill, steps: 6, batch_size: 2"])
def test_a_long_step_goes_on_from_its_last_part(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    crop = "" if method == "bias" else ", crop: 64"
    steps = (PRUNE, f"repair, method: {method}{crop}, calibration: {{images: 3, image_size: 64}}")
    whole = finished(place, None, KilledAt(), *steps)
    monkeypatch.setattr(step_cache, "PART_SECONDS", 0.0)
    with pytest.raises(KilledError):
        finished(place, tmp_path / "cache", KilledAt("repair", 4), *steps)
    kept = [place.name for place in (tmp_path / "cache").iterdir()]
    assert kept == ["step_2_part"]
    last = KilledAt()
    assert same(finished(place, tmp_path / "cache", last, *steps), whole)
    assert any(each.startswith("a part of step 2") and each.endswith(": kept") for each in last.seen)
    if "distill" in method:
        assert last.first == {"repair: 6 steps of distillation": 4}  # the fourth was not left when the kill came
    assert not (tmp_path / "cache" / "step_2_part").exists()
