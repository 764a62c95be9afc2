"""Two ways to do one thing, each in a process of its own, in turns: CPU seconds, seconds on the clock, peak memory.

The first run of each is not counted; its answers are compared, so that no time is told of a wrong answer.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tabulate import tabulate


class Work(NamedTuple):
    """What is timed; what has to be done before each run, and what is told of its result, without being timed."""

    run: Callable[[], Any]
    prepare: Callable[[], None] = lambda: None
    answer: Callable[[Any], Any] = lambda result: result


Make = Callable[[], Work]  # called in the child; a function of a module, or a partial of one


class Cost(NamedTuple):
    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True)
class Comparison:
    """Costs of every counted run."""

    name: str
    peer_name: str
    peer: list[Cost]
    ours: list[Cost]
    note: str = ""

    def row(self) -> tuple[str, ...]:
        peer, ours = middle(self.peer), middle(self.ours)
        memory = f"{peer.peak_mb / ours.peak_mb:.1f}" if ours.peak_mb >= 1 and peer.peak_mb >= 1 else "-"
        cpu = f"{peer.cpu_s:.4g}", f"{ours.cpu_s:.4g}", f"**{peer.cpu_s / ours.cpu_s:.1f}**"
        wall = f"{peer.wall_s:.4g}", f"{ours.wall_s:.4g}", f"{peer.wall_s / ours.wall_s:.1f}"
        peak = f"{peer.peak_mb:,.0f}", f"{ours.peak_mb:,.0f}", memory
        return self.name, self.peer_name, *cpu, *wall, *peak, self.note


HEADERS = ("step", "peer", "CPU s", "ours", "ratio", "wall s", "ours", "ratio", "peak MB", "ours", "ratio", "answers")


def table(found: Sequence[Comparison]) -> str:
    rows = [each.row() for each in found]
    align = ("left", "left", *("right",) * 9, "left")
    return tabulate(rows, HEADERS, tablefmt="pipe", colalign=align, disable_numparse=True)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def compare(
    name: str,
    peer: tuple[str, Make],
    ours: Make,
    same: Callable[[Any, Any], str],
    *,
    runs: int,
    threads: int = 1,
) -> Comparison:
    """Measure both in turns.

    Args:
        name: of the step.
        peer: its name and its work.
        ours: our work.
        same: given both answers, says in words how they agree, or raises.
        runs: counted runs of each.
        threads: of torch, in each process.
    """
    with _Child(peer[1], threads) as theirs, _Child(ours, threads) as mine:
        note = same(theirs.run()[1], mine.run()[1])
        costs: tuple[list[Cost], list[Cost]] = ([], [])
        for turn in range(runs):
            pairs = list(zip((theirs, mine), costs, strict=True))
            for child, kept in pairs if turn % 2 else reversed(pairs):
                kept.append(child.run()[0])
    return Comparison(name, peer[0], *costs, note)


def measure(make: Make, runs: int, threads: int = 1) -> list[Cost]:
    """Costs of one way alone; the first run is not counted."""
    with _Child(make, threads) as child:
        child.run()
        return [child.run()[0] for _ in range(runs)]


class _Child:
    """A process that does the work when it is told to."""

    def __init__(self, make: Make, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, threads))

    def __enter__(self) -> _Child:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def run(self) -> tuple[Cost, Any]:
        self._connection.send("run")
        cost, answer = self._connection.recv()
        return Cost(*cost), answer


def _serve(connection: Connection, make: Make, threads: int) -> None:
    torch.set_num_threads(threads)
    work = make()
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        work.prepare()
        before = _forget_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        result = work.run()
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
        cost = (cpu_s, wall_s, _memory("VmHWM") - before)
        connection.send((cost, work.answer(result)))


def _forget_peak() -> float:
    """MB held now; the peak is counted from here on. Linux only: elsewhere memory is told as 0."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(key: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1e3


def machine() -> str:
    """The machine and how busy it is, for the line above a table."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())
