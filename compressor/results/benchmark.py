"""How long inference takes: what `compressor benchmark` measured."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.results.run import Environment

BENCHMARK_SCHEMA = "compressor/tasks/benchmark/1"


@dataclass(frozen=True)
class Measured:
    """One network at one batch size and one number of threads.

    Attributes:
        file: as it was named.
        runs_on: what computed it: `torch`, `onnxruntime 1.20.1`.
        device: where.
        precision: number type of its input.
        suppression: whether non-maximum suppression is part of it.
        batch_size: images per pass.
        threads: of the CPU.
        times_ms: what each pass took; those of one turn stand in the same place as those of all others of its batch
            size and threads.
        cpu_ms: how long processors worked in each pass, all threads together.
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
    """A whole measurement.

    Attributes:
        image_size: side in pixels of the square images.
        runs: passes that were timed, of each network.
        warm_up: passes before them.
        environment: the machine and its packages.
        load_before: the load average of the minute before, None where the system does not tell.
        load_after: likewise, of the last minute of the measurement, which itself is part of it.
        measured: by threads and batch size, then in the order of the files.
        warnings: what the files do not tell and was assumed, one sentence each.
    """

    image_size: int
    runs: int
    warm_up: int
    environment: Environment
    load_before: float | None
    load_after: float | None
    measured: tuple[Measured, ...]
    warnings: tuple[str, ...] = ()
