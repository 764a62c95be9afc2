"""Kills real commands at random moments, lets them go on, and compares bytes with an uninterrupted run.

    python benchmarks/kills.py --kills 30 --seed 0

The commands are apply, apply --force over an earlier run, sweep and sensitivity, on a tiny model and a few images; the
signals SIGKILL, SIGINT and SIGTERM. Prints what became of them, and fails at the first difference but of times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.kills import COMMANDS, Trials

KINDS = [kind for kind in COMMANDS if kind != "apply without figures"]  # which tests do


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
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
