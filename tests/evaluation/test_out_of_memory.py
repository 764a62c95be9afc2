"""Batches that do not fit are halved until they do, with the same results and a message each time."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from compressor.data.dataset import load_dataset, read_split
from compressor.errors import RunError
from compressor.evaluation.network import inference_network
from compressor.evaluation.out_of_memory import Halving, enough_memory
from compressor.evaluation.predict import detect
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation as Settings
from trials.tiny import tiny_data, tiny_model


class Small:
    """A detector whose device takes `room` images at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.cuda.OutOfMemoryError
        return images.mean(dim=1).flatten(1)

    def numbered(self, images: Tensor) -> Tensor:
        """One row for each image that is not black, and two for every third."""
        means = self(images).mean(dim=1)
        rows = [[i, *[float(mean)] * 6] for i, mean in enumerate(means) for _ in range(1 + (float(mean) > 0.5))]
        return torch.tensor(rows).reshape(-1, 7)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(11, 3, 32, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("room", [1, 2, 3, 5, 10, 11])
@pytest.mark.parametrize("numbered", [False, True])
def test_the_result_is_that_of_the_whole_batch(images: Tensor, room: int, numbered: bool) -> None:
    whole, small, messages = Small(99), Small(room), list[str]()
    halving = Halving(messages.append, numbered=numbered)
    found = halving(small.numbered if numbered else small, images)
    assert torch.equal(found, (whole.numbered if numbered else whole)(images))
    assert halving.most is None if room == 11 else halving.most is not None and halving.most <= room
    assert len(messages) == sum(size > room for size in small.sizes)


def test_the_size_that_fitted_is_remembered_and_each_halving_is_reported(images: Tensor) -> None:
    small, messages = Small(3), list[str]()
    halving = Halving(messages.append)
    halving(small, images)
    assert small.sizes == [11, 6, 3, 3, 3, 2]
    assert messages == [
        "cpu has too little memory for 11 images of 64 x 32 px at once: going on with 6",
        "cpu has too little memory for 6 images of 64 x 32 px at once: going on with 3",
    ]
    small.sizes.clear()
    halving(small, images[:4])
    assert small.sizes == [3, 1]
    assert len(messages) == 2


def test_one_image_that_does_not_fit_is_the_end(images: Tensor) -> None:
    small, messages = Small(0), list[str]()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Halving(messages.append)(small, images)
    assert small.sizes == [11, 6, 3, 2, 1]


def test_an_evaluation_goes_on_with_batches_that_fit(tmp_path: Path) -> None:
    samples = read_split(load_dataset(str(tiny_data(tmp_path))), "val").samples
    network = inference_network(tiny_model(), torch.device("cpu"))
    settings = Settings(image_size=64, batch_size=6)
    whole, _ = detect(network, samples, settings, Silent(), "evaluate")
    sizes: list[int] = []

    def small(images: Tensor) -> Tensor:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError
        return network.predict(images)

    found, _ = detect(replace(network, predict=small), samples, settings, Silent(), "evaluate")
    assert sizes == [6, 3, 2, 2, 2]
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one.detections, other.detections, rtol=1e-3, atol=1e-3)


def test_a_single_image_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    def full(_: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError

    samples = read_split(load_dataset(str(tiny_data(tmp_path))), "val").samples
    network = replace(inference_network(tiny_model(), torch.device("cpu")), predict=full)
    with pytest.raises(RunError, match="E812 cpu has too little memory for one image of 64 px"):
        detect(network, samples, Settings(image_size=64), Silent(), "evaluate")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["Python", "CUDA", "CPU", "cuBLAS"],
)
def test_every_way_to_run_out_of_memory_is_one_error(error: Exception) -> None:
    with (
        pytest.raises(RunError, match=r"--batch-size: E812 too large(?s:.*)lower it"),
        enough_memory("too large", "lower it", "--batch-size"),
    ):
        raise error


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    with pytest.raises(RuntimeError, match="allocation of channels"), enough_memory("too large", "lower it"):
        raise RuntimeError("allocation of channels")
