import json
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.batches import fit_image_size, geometry, load_batches, plan_batches
from compressor.data.dataset import Sample, load_dataset, read_split
from compressor.data.image_file import read_image
from compressor.errors import DatasetError
from tests.data.images import write_image
from tests.oracles.vectors import BATCHES, PICTURES, committed

NO_LABELS = np.zeros((0, 5), np.float32)


def sample(width: int, height: int, image: str = "a.png") -> Sample:
    return Sample(Path(image), width, height, NO_LABELS)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("compressor-images")]


@pytest.fixture
def many(tmp_path: Path) -> tuple[Sample, ...]:
    return tuple(sample(40, 20, str(write_image(tmp_path / f"{i}.png", seed=i))) for i in range(12))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the images as they are decoded."""
    seen: list[str] = []

    def counted(path: Path, size: tuple[int, int], sha256: str | None) -> Any:
        seen.append(path.name)
        return read_image(path, size, sha256)

    monkeypatch.setattr("compressor.data.batches.read_image", counted)
    yield seen
    assert not threads()


def golden_samples(golden: Any, folder: Path) -> tuple[Sample, ...]:
    """The golden data set, written as files and read back."""
    for index, (width, height) in enumerate(golden["image_sizes_wh"]):
        write_image(folder / "images" / f"{index:012}.png", width, height, seed=2000 + index)
        text = golden["label_files"][index]
        if text is not None:
            (folder / "labels").mkdir(exist_ok=True)
            (folder / "labels" / f"{index:012}.txt").write_text(text)
    (folder / "data.yaml").write_text("val: images\nnc: 80\n")
    split = read_split(load_dataset(str(folder / "data.yaml")), "val")
    assert split.skipped == ()
    return split.samples


def test_batches_equal_upstream(golden: Path, tmp_path: Path) -> None:
    expected = json.loads((golden / "data.json").read_text())
    samples = golden_samples(expected, tmp_path)
    assert len(samples) == 13
    for record in expected["dataset"]:
        size = record["imgsz"]
        plans = plan_batches(samples, size, record["batch_size"], record["stride"], record["pad"])
        assert [list(plan.shape) for plan in plans] == record["batch_shapes_hw"]
        assert [s.image.name for plan in plans for s in plan.samples] == record["order"]
        items = iter(record["items"])
        for batch in load_batches(plans, size, "floor"):
            for index, image in enumerate(batch.images):
                item = next(items)
                assert batch.samples[index].image.name == item["file"]
                assert [batch.samples[index].height, batch.samples[index].width] == item["hw0"]
                assert list(image.shape) == item["tensor_shape"]
                assert list(batch.ratios[index]) == pytest.approx(item["ratio_hw"], abs=1e-12)
                assert list(batch.pads[index]) == item["pad_wh"]
                known = geometry(batch.samples[index], (image.shape[1], image.shape[2]), size, "floor")
                assert known == (batch.ratios[index], batch.pads[index])
                assert zlib.crc32(image.numpy().tobytes()) == item["crc32"], item["file"]
        assert next(items, None) is None


@pytest.mark.parametrize("case", BATCHES)
def test_batches_equal_the_committed_vectors(tmp_path: Path, case: str) -> None:
    vectors, (image_size, batch_size, stride, pad) = committed("batches"), BATCHES[case]
    files = [write_image(tmp_path / f"{i}.png", *size, seed=i) for i, size in enumerate(PICTURES)]
    samples = [sample(*size, str(file)) for size, file in zip(PICTURES, files, strict=True)]
    plans = plan_batches(samples, image_size, batch_size, stride, pad)
    assert [list(plan.shape) for plan in plans] == vectors[f"{case}.shapes"].tolist()
    assert [int(s.image.stem) for plan in plans for s in plan.samples] == vectors[f"{case}.order"].tolist()
    for batch in load_batches(plans, image_size, "floor"):
        for image, each, ratios, pads in zip(batch.images, batch.samples, batch.ratios, batch.pads, strict=True):
            key = f"{case}.{each.image.stem}"
            assert np.array_equal(image.numpy(), vectors[f"{key}.tensor"])
            assert (list(ratios), list(pads)) == (vectors[f"{key}.ratios"].tolist(), vectors[f"{key}.pad"].tolist())


@pytest.mark.parametrize(("size", "stride", "fitted"), [(640, 32, 640), (641, 32, 672), (1, 64, 64), (640, 64, 640)])
def test_image_sizes_are_whole_strides(size: int, stride: int, fitted: int) -> None:
    assert fit_image_size(size, stride) == fitted


sizes = st.tuples(st.integers(10, 2000), st.integers(10, 2000))


@given(st.lists(sizes, min_size=1, max_size=9), st.integers(1, 4), st.sampled_from((32, 64)))
def test_every_image_is_in_one_batch_that_holds_it(
    image_sizes: list[tuple[int, int]], batch_size: int, stride: int
) -> None:
    samples = [sample(*size) for size in image_sizes]
    plans = plan_batches(samples, 640, batch_size, stride)
    assert sorted(id(s) for plan in plans for s in plan.samples) == sorted(map(id, samples))
    for plan in plans:
        assert len(plan.samples) <= batch_size
        assert plan.shape[0] % stride == plan.shape[1] % stride == 0
        for s in plan.samples:
            ratio = 640 / max(s.width, s.height)
            assert s.height * ratio <= plan.shape[0] and s.width * ratio <= plan.shape[1]


def test_no_images_make_no_batches() -> None:
    assert plan_batches((), 640, 8, 32) == ()
    assert list(load_batches((), 640, "floor")) == []


def test_rounding_decides_the_resized_size(tmp_path: Path) -> None:
    file = write_image(tmp_path / "a.png", 500, 376)
    plans = plan_batches([sample(500, 376, str(file))], 640, 1, 32)
    (floor,), (ceil,) = load_batches(plans, 640, "floor"), load_batches(plans, 640, "ceil")
    assert (floor.ratios, floor.pads) == (((481 / 376, 1.28),), ((16, 15.5),))
    assert (ceil.ratios, ceil.pads) == (((482 / 376, 1.28),), ((16, 15),))
    assert geometry(floor.samples[0], plans[0].shape, 640, "floor") == (floor.ratios[0], floor.pads[0])
    assert geometry(ceil.samples[0], plans[0].shape, 640, "ceil") == (ceil.ratios[0], ceil.pads[0])


def test_at_most_two_batches_are_decoded_ahead(many: tuple[Sample, ...], loads: list[str]) -> None:
    batches_of_two = load_batches(plan_batches(many, 64, 2, 32), 64, "floor")
    next(batches_of_two)
    deadline = time.monotonic() + 10
    while len(loads) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(loads) == 6
    assert len(list(batches_of_two)) == 5
    assert sorted(loads) == sorted(s.image.name for s in many)


def test_closing_early_stops_the_threads(many: tuple[Sample, ...], loads: list[str]) -> None:
    with_threads = load_batches(plan_batches(many, 64, 1, 32), 64, "floor")
    next(with_threads)
    assert threads()
    with_threads.close()  # type: ignore[attr-defined]
    assert not threads() and len(loads) <= 3


def test_an_interrupt_stops_the_threads(many: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, size: tuple[int, int], sha256: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compressor.data.batches.read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(load_batches(plan_batches(many, 64, 1, 32), 64, "floor"))
    assert not threads()


def test_an_image_that_cannot_be_decoded_is_named(many: tuple[Sample, ...]) -> None:
    many[5].image.write_bytes(many[5].image.read_bytes()[:-60])
    with pytest.raises(DatasetError) as caught:
        list(load_batches(plan_batches(many, 64, 4, 32), 64, "floor"))
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.path) == ("D405", str(many[5].image))
    assert not threads()


def test_an_image_that_was_replaced_since_it_was_checked_ends_the_run_by_its_name(tmp_path: Path) -> None:
    write_image(tmp_path / "images/1.png", seed=1)
    (tmp_path / "data.yaml").write_text("path: .\nval: images\nnc: 1\n")
    samples = read_split(load_dataset(str(tmp_path / "data.yaml")), "val").samples
    plans = plan_batches(samples, 64, 1, 32)
    assert len(list(load_batches(plans, 64, "ceil"))) == 1
    write_image(tmp_path / "images/1.png", seed=2)  # of the same size
    with pytest.raises(DatasetError, match=r"1\.png: D430 this image was replaced"):
        list(load_batches(plans, 64, "ceil"))
