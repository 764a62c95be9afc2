"""Kills real commands at random moments, lets them go on, and compares bytes with an uninterrupted run.

    python benchmarks/kills.py --kills 30 --seed 0
    python benchmarks/kills.py --full-disk

The commands are apply, apply --force over an earlier run, sweep and sensitivity, on a tiny model and a few images; the
signals SIGKILL, SIGINT and SIGTERM. Prints what became of them, and fails at the first difference but of times. With
--full-disk the disk is full instead at the first file that apply writes, then at the second, and so on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from compressor.errors import OutputError
from compressor.progress import Silent
from compressor.recipe.load import load_recipe
from compressor.run.pipeline import run
from compressor.run.readiness import Options
from trials.kills import COMMANDS, FullDisk, Trials, make_inputs, timeless

KINDS = [kind for kind in COMMANDS if kind != "apply without figures"]  # which tests do


def full_disk() -> None:
    number, opened = 0, Path.open
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder, "inputs"))
        os.chdir(Path(folder, "inputs"))
        run(load_recipe(Path("r.yaml")), Options(Path("whole")), Silent())
        while not Path("out").exists():
            number += 1
            Path.open = FullDisk(number).bind()  # type: ignore[method-assign]
            try:
                run(load_recipe(Path("r.yaml")), Options(Path("out")), Silent())
            except OutputError as fault:
                assert "No space left" in str(fault), fault
                assert not Path("out").exists()
            finally:
                Path.open = opened  # type: ignore[method-assign]
            print(f"full at write {number}", file=sys.stderr, flush=True)
        assert timeless(Path("out")) == timeless(Path("whole"))
    print(f"a disk full at each of {number - 1} writes: nothing half-written, then every byte but of times is the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true")
    asked = parser.parse_args()
    if asked.full_disk:
        full_disk()
        return
    with tempfile.TemporaryDirectory() as folder:
        trials, kills, number = Trials(Path(folder), asked.seed), 0, 0
        while kills < asked.kills:
            kills += trials.kill(KINDS[number % len(KINDS)])
            number += 1
            print(f"{kills} kills survived in {number} runs", file=sys.stderr, flush=True)
    for what, count in sorted(trials.counts.items()):
        print(f"{count:5}  {what}")
    print(f"{kills} kills survived in {number} runs, seed {asked.seed}: every byte but of times is the same")


if __name__ == "__main__":
    main()
