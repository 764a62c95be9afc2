"""Latency and throughput of any files that detect, measured in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from compressor.artifact.load import LoadedModel, fetch_and_load
from compressor.data.batches import fit_image_size
from compressor.errors import Diagnostic, InputError
from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.out_of_memory import enough_memory
from compressor.evaluation.predict import select_device
from compressor.evaluation.timing import Laps, one_pass, take_turns
from compressor.export.open import is_graph, open_network
from compressor.export.write import Options, write
from compressor.models.strides import image_step
from compressor.progress import Progress
from compressor.recipe.exports import TRAITS, ExportFormat
from compressor.recipe.schema import Precision
from compressor.results.benchmark import Benchmark, Measured
from compressor.run.environment import describe_environment, load_average
from compressor.run.exports import check_runtimes

Backend = Literal["torch", "onnxruntime", "openvino", "torchscript"]

_FORMATS: dict[Backend, ExportFormat] = {"onnxruntime": "onnx", "openvino": "openvino", "torchscript": "torchscript"}
_CHECK_IMAGES = 2  # on which an exported graph is compared with the model


@dataclass(frozen=True)
class Question:
    """What to measure.

    Attributes:
        files: checkpoints, artifacts, names of released models, and graphs.
        backends: what runs those that are no graphs.
        image_size: side in pixels of the square images, rounded up to the networks' stride.
        batch_sizes: images per pass.
        threads: of the CPU; empty for as many as torch would take.
        device: `auto`, `cpu`, `cuda`, `cuda:1`; graphs run on the CPU.
        precision: number type in which torch runs a model; graphs have their own.
        runs: passes to time, of each network.
        warm_up: passes before them.
    """

    files: tuple[str, ...]
    backends: tuple[Backend, ...] = ("torch",)
    image_size: int = 640
    batch_sizes: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = ()
    device: str = "auto"
    precision: Precision = "auto"
    runs: int = 30
    warm_up: int = 3


@dataclass(frozen=True, eq=False)
class _Entry:
    """A file and how it becomes a network that runs with as many threads as torch then does."""

    file: str
    open: Callable[[], Network]


def benchmark(question: Question, progress: Progress) -> Benchmark:
    """Measure every file on every backend, at every batch size and number of threads.

    All networks of one batch size and number of threads take turns. Torch's number of threads is as before afterwards,
    and what was exported is gone.

    Raises:
        CheckpointError, DownloadError: a file is missing, damaged or not supported.
        InputError: U903 there is no such device; U909 a graph takes other images; U912 a package is missing.
        ArtifactError: A503 an exported graph does not compute what the model does.
        RunError: E812 there is too little memory.
    """
    device = select_device(question.device)
    check_runtimes(_FORMATS[backend] for backend in question.backends if backend != "torch")
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="compressor-benchmark-", ignore_cleanup_errors=True) as folder:
        loaded = {file: _load(file, progress) for file in question.files}
        size = _image_size(question, loaded)
        _check_batch_sizes(question, loaded)
        entries = {
            file: list(_entries(file, each, question, device, size, Path(folder, str(number)), progress))
            for number, (file, each) in enumerate(loaded.items())
        }
        turns = [entry for file in question.files for entry in entries[file]]  # a file may be named twice
        measured: list[Measured] = []
        for threads in question.threads or (torch.get_num_threads(),):
            with _threads(threads):
                measured += _measure(turns, threads, size, question, progress)
    return Benchmark(
        image_size=size,
        runs=question.runs,
        warm_up=question.warm_up,
        environment=describe_environment(device),
        load_before=load_before,
        load_after=load_average(),
        measured=tuple(measured),
        warnings=tuple(told for each in loaded.values() if isinstance(each, LoadedModel) for told in each.warnings),
    )


def _load(file: str, progress: Progress) -> LoadedModel | Network:
    """A model; or, of a graph, a network to see what it takes."""
    with progress.step(f"load {file}"):
        if is_graph(Path(file)):
            return open_network(Path(file), torch.device("cpu"))
        return fetch_and_load(file, progress)[1]


def _image_size(question: Question, loaded: dict[str, LoadedModel | Network]) -> int:
    """The size that all take.

    Raises:
        InputError: U909 a graph takes another one.
    """
    strides = [each.strides if isinstance(each, Network) else each.model.strides for each in loaded.values()]
    size = fit_image_size(question.image_size, image_step([max(each) for each in strides]))
    for file, each in loaded.items():
        if isinstance(each, Network) and each.image_size not in (None, size):
            message = f"the file takes images of {each.image_size} px only, not of {size}"
            help_text = f"measure it with --image-size {each.image_size}, or export it again with --dynamic-size"
            raise InputError(Diagnostic("U909", message, file, help=help_text))
    return size


def _check_batch_sizes(question: Question, loaded: dict[str, LoadedModel | Network]) -> None:
    """Refuse what a graph of one batch size cannot be asked.

    Raises:
        InputError: U909 a graph takes another number of images.
    """
    for file, each in loaded.items():
        if isinstance(each, Network) and each.batch_size is not None:
            others = [size for size in question.batch_sizes if size != each.batch_size]
            if others:
                message = f"the file takes {each.batch_size} at a time only, not {others[0]}"
                help_text = f"measure it with --batch-size {each.batch_size}, or export it with a dynamic batch"
                raise InputError(Diagnostic("U909", message, file, help=help_text))


def _entries(
    file: str,
    loaded: LoadedModel | Network,
    question: Question,
    device: torch.device,
    image_size: int,
    place: Path,
    progress: Progress,
) -> Iterator[_Entry]:
    """The file on every backend, exported where it must be; a graph on its own.

    Args:
        file: as it was named.
        loaded: what it holds.
        question: with the backends and the number type asked for.
        device: where torch runs.
        image_size: of the images that exported graphs take.
        place: where graphs of the file go; endings are added.
        progress: told of every export.
    """
    if isinstance(loaded, Network):
        yield _Entry(file, partial(open_network, Path(file), device))
        return
    for backend in question.backends:
        if backend == "torch":
            yield _Entry(file, partial(inference_network, loaded.model, device, question.precision))
            continue
        form = _FORMATS[backend]
        graph = place.with_name(place.name + TRAITS[form].ending)
        with progress.step(f"export {file} for {backend}"):
            write(loaded, form, Options(image_size), _noise(_CHECK_IMAGES, image_size), graph)
        yield _Entry(file, partial(open_network, graph, device))


def _measure(
    entries: Sequence[_Entry], threads: int, image_size: int, question: Question, progress: Progress
) -> Iterator[Measured]:
    """All entries in turns, at every batch size."""
    networks = [entry.open() for entry in entries]
    for batch_size in question.batch_sizes:
        title = f"batch {batch_size}, {threads} {'thread' if threads == 1 else 'threads'}"
        message = f"there is too little memory for {batch_size} images of {image_size} px at once"
        with (
            enough_memory(message, "lower it, or --image-size", "--batch-size"),
            progress.bar(title, "passes") as update,
        ):
            images = _noise(batch_size, image_size)
            passes = [one_pass(network, images) for network in networks]
            laps = take_turns(passes, question.runs, question.warm_up, update)
        for entry, network, each in zip(entries, networks, laps, strict=True):
            yield _measured(entry.file, network, batch_size, threads, each)


def _measured(file: str, network: Network, batch_size: int, threads: int, laps: Laps) -> Measured:
    return Measured(
        file=file,
        runs_on=network.runs_on,
        device=str(network.device),
        precision=str(network.dtype).removeprefix("torch."),
        suppression=network.suppression is not None,
        batch_size=batch_size,
        threads=threads,
        times_ms=laps.wall_ms,
        cpu_ms=laps.cpu_ms,
    )


def _noise(images: int, image_size: int) -> Tensor:
    """(B, 3, S, S) in [0, 1]: what a network takes for an image does not depend on what is in it."""
    return torch.rand(images, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch works with so many threads on the CPU, as do the runtimes that are opened meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
