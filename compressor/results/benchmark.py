"""Times of inference, as measured by `compressor benchmark`."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.results.run import Environment

BENCHMARK_SCHEMA = "compressor/tasks/benchmark/1"


@dataclass(frozen=True)
class Measured:
    """The times of one network at one batch size and one number of threads.

    Attributes:
        file: the path as it was given.
        runs_on: the runtime, such as `torch` or `onnxruntime 1.20.1`.
        device: on which it ran.
        precision: number type of its input.
        suppression: whether non-maximum suppression is part of it.
        batch_size: images per pass.
        threads: of the CPU.
        times_ms: time of each pass; the same index is the same turn in all networks of its batch size and threads.
        cpu_ms: CPU time of each pass, summed over all threads.
    """

    file: str
    runs_on: str
    device: str
    precision: str
    suppression: bool
    batch_size: int
    threads: int
    times_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]


@dataclass(frozen=True)
class Benchmark:
    """The measurements of all networks.

    Attributes:
        image_size: side in pixels of the square images.
        runs: timed passes of each network.
        warm_up: passes before them that are not timed.
        environment: the machine and its packages.
        load_before: load average of the minute before; None if the system does not report it.
        load_after: load average of the last minute, which includes the measurement itself; None if not reported.
        measured: by threads and batch size, then in the order of the files.
        warnings: what was assumed because the files do not say it, one sentence each.
    """

    image_size: int
    runs: int
    warm_up: int
    environment: Environment
    load_before: float | None
    load_after: float | None
    measured: tuple[Measured, ...]
    warnings: tuple[str, ...] = ()
