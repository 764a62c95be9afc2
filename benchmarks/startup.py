"""How long the commands that answer at once take, beside what `import torch` alone would cost each of them.

Run from the repository root: `.venv/bin/python benchmarks/startup.py`. Every answer is checked before it is timed.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "recipes").glob("*.yaml"))
REPORTS = ("reports/yolov5n_uniform30", "reports/yolov5n_global30")
COMPRESSOR = (sys.executable, "-m", "compressor")
PEER = "import torch"


@dataclass(frozen=True)
class Case:
    """A command, and words its output must hold."""

    name: str
    command: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Timing:
    """Median seconds of one case."""

    name: str
    wall_s: float
    cpu_s: float


def cases() -> list[Case]:
    demo, every = "recipes/demo.yaml", f"compressor check recipes/*.yaml ({len(RECIPES)} files)"
    return [
        Case(PEER, (sys.executable, "-c", "import torch; print(torch.__version__)"), (".",)),
        Case("compressor --help", (*COMPRESSOR, "--help"), ("Usage:", "apply", "check", "diff")),
        Case(f"compressor check {demo}", (*COMPRESSOR, "check", demo), (f"{demo}: ok",)),
        Case(every, (*COMPRESSOR, "check", *RECIPES), tuple(f"{recipe}: ok" for recipe in RECIPES)),
        Case("compressor diff of two reports", (*COMPRESSOR, "diff", *REPORTS), ("uniform", "global", "AP50", "mAP50")),
        Case("compressor explain R103", (*COMPRESSOR, "explain", "R103"), ("R103 ", "Wrong:", "Right:")),
    ]


def check_answer(case: Case) -> None:
    """Raise where a command does not answer as it must; this run also fills the file cache."""
    done = subprocess.run(case.command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{case.name}: exit code {done.returncode}\n{done.stderr}"
    missing = [word for word in case.words if word not in done.stdout]
    assert not missing, f"{case.name}: {missing} not in\n{done.stdout}"


def measure(case: Case) -> tuple[float, float]:
    """Wall and CPU seconds (user and system) of one run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(case.command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure_all(chosen: list[Case], runs: int) -> list[Timing]:
    """Medians; the cases take turns, so that a busy moment falls on all of them."""
    rounds = [[measure(case) for case in chosen] for _ in range(runs)]
    timings = []
    for case, measured in zip(chosen, zip(*rounds, strict=True), strict=True):
        walls, cpus = zip(*measured, strict=True)
        timings.append(Timing(case.name, statistics.median(walls), statistics.median(cpus)))
    return timings


def table(timings: list[Timing]) -> str:
    peer = next(timing for timing in timings if timing.name == PEER)
    rows = ["| command | wall s | CPU s | CPU, of `import torch` |", "|:--|--:|--:|--:|"]
    for timing in timings:
        share = f"{timing.cpu_s / peer.cpu_s:.2f}"
        rows.append(f"| `{timing.name}` | {timing.wall_s:.2f} | {timing.cpu_s:.2f} | {share} |")
    return "\n".join(rows)


def machine() -> str:
    """Processor, cores, Python, and how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, load average {load}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="runs of every command, at least 5 (default 9)")
    runs = max(5, parser.parse_args().runs)
    chosen = cases()
    for case in chosen:
        check_answer(case)
    before = machine()
    timings = measure_all(chosen, runs)
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    print(f"{before} before and {load} after; median of {runs} runs\n\n{table(timings)}")


if __name__ == "__main__":
    main()
