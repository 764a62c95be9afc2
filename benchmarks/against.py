"""Each step of this version beside another one's, in turns, so that a slow-down is seen before it lands.

Run from the repository root: `.venv/bin/python benchmarks/against.py COMMIT`, with names of steps to run only these.
The other version is laid out in a temporary folder (`git worktree`). Every step runs in a process of each version,
with that version's own list of steps where it has one; the first run of each is not counted, and its answers are
compared. CPU and wall seconds are medians; the ratio is the median of this version's CPU seconds by the other's, turn
by turn, with the least and the greatest. Exits 1 where an answer differs, where a step of this version fails, or where
one was slower in every turn and by more than `--tolerance` in the median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from against_steps import STEPS
from side_by_side import load, machine
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
HEADERS = ("step", "CPU s, then", "now", "ratio", "least to greatest", "wall s, then", "now", "answers", "verdict")


class Run(NamedTuple):
    cpu_s: float
    wall_s: float
    answer: str


@dataclass(frozen=True)
class Measured:
    """Runs of one step in turns.

    Attributes:
        then: of the other version.
        now: of this one.
        same: whether their answers are equal.
    """

    then: list[Run]
    now: list[Run]
    same: bool

    def ratios(self) -> list[float]:
        """CPU seconds of this version by those of the other, turn by turn."""
        return [now.cpu_s / max(then.cpu_s, 1e-9) for then, now in zip(self.then, self.now, strict=True)]

    def slower(self, tolerance: float) -> bool:
        ratios = self.ratios()
        return min(ratios) > 1 and statistics.median(ratios) > 1 + tolerance

    def failed(self, tolerance: float) -> bool:
        return not self.same or self.slower(tolerance)


class StepError(Exception):
    """A step of the version in `root` failed."""

    def __init__(self, root: Path, message: str) -> None:
        super().__init__(message)
        self.root = root


class Stepper:
    """A process of one version that runs a step whenever it is asked to."""

    def __init__(self, root: Path, step: str) -> None:
        self.root = root
        own = root / "benchmarks" / "against_steps.py"
        script = own if own.exists() else ROOT / "benchmarks" / "against_steps.py"
        environment = os.environ | {"PYTHONPATH": str(root)}
        self._process = subprocess.Popen(
            (sys.executable, str(script), step),
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Stepper:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self) -> Run:
        """One run.

        Raises:
            StepError: the message is the last line of what it printed.
        """
        assert self._process.stdin and self._process.stdout and self._process.stderr
        try:
            self._process.stdin.write("run\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            raise StepError(self.root, (self._process.stderr.read().strip().splitlines() or ["no message"])[-1])
        return Run(*json.loads(answer))


def measure(step: str, other: Path, runs: int) -> Measured:
    with ExitStack() as stack:
        sides = [stack.enter_context(Stepper(root, step)) for root in (other, ROOT)]
        answers = [side.run().answer for side in sides]
        kept: tuple[list[Run], list[Run]] = ([], [])
        for turn in range(runs):
            order = (0, 1) if turn % 2 else (1, 0)
            for which in order:
                kept[which].append(sides[which].run())
        return Measured(*kept, same=answers[0] == answers[1])


def row(step: str, found: Measured, tolerance: float) -> tuple[str, ...]:
    then, now = ([statistics.median(column) for column in zip(*side, strict=True)] for side in _times(found))
    ratios = found.ratios()
    return (
        step,
        f"{then[0]:.3g}",
        f"{now[0]:.3g}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{then[1]:.3g}",
        f"{now[1]:.3g}",
        "same" if found.same else "**others**",
        "**slower**" if found.slower(tolerance) else "faster" if max(ratios) < 1 else "-",
    )


def _times(found: Measured) -> Iterator[list[tuple[float, float]]]:
    for side in (found.then, found.now):
        yield [(run.cpu_s, run.wall_s) for run in side]


@contextmanager
def laid_out(commit: str) -> Iterator[Path]:
    """The commit's files in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "then"
        subprocess.run(("git", "worktree", "add", "--quiet", "--detach", str(tree), commit), cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(("git", "worktree", "remove", "--force", str(tree)), cwd=ROOT, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the version to compare with")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all when none is named")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each (default 5)")
    parser.add_argument("--tolerance", type=float, default=0.1, help="how much slower is too much (default 0.1)")
    options = parser.parse_intermixed_args()
    rows, failed, before = [], False, load()
    with laid_out(options.commit) as other:
        for step in options.steps or STEPS:
            try:
                found = measure(step, other, options.runs)
            except StepError as error:
                rows.append((step, *["-"] * 7, str(error)))
                failed |= error.root == ROOT
                continue
            rows.append(row(step, found, options.tolerance))
            failed |= found.failed(options.tolerance)
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(f"{machine()}, load average {before} before and {load()} after; median of {options.runs} runs in turns\n")
    align = ("left", *["right"] * 6, "left", "left")
    print(tabulate(rows, HEADERS, tablefmt="pipe", colalign=align, disable_numparse=True))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
