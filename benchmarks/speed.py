"""How fast each step is, beside the plain way of doing it, in one run on one machine: `speed.md` is what it writes.

Run from the repository root: `.venv/bin/python benchmarks/speed.py --data my_coco.yaml --weights yolov5n.pt
--ground-truth instances_val2017.json --output benchmarks/speed.md`. Every answer is compared before it is timed; CPU
seconds and seconds on the clock are medians of the runs, memory is the peak beyond what was held before. Name steps to
run only these; what needs a file that was not named is left out, and says so.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import speed_judging
import speed_pruning
import speed_running
from side_by_side import Comparison, load, machine, table

Step = Callable[[argparse.Namespace], list[Comparison]]

STEPS: dict[str, tuple[Step, tuple[str, ...]]] = {  # with the options it needs
    "pruning": (speed_pruning.pruning, ()),
    "coco": (speed_judging.coco, ("ground_truth",)),
    "nms": (speed_judging.suppression, ()),
    "images": (speed_running.images, ("data",)),
    "inference": (speed_running.inference, ("weights",)),
    "evaluate": (speed_running.evaluate, ("data", "weights")),
    "loading": (speed_running.loading, ()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all when none is named")
    parser.add_argument("--data", help="a dataset YAML with COCO images")
    parser.add_argument("--weights", type=Path, help="a YOLOv5n checkpoint")
    parser.add_argument("--ground-truth", type=Path, help="COCO instances JSON of val2017, may be gzipped")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", default="x", choices=list("nsmlx"), help="network that is pruned and loaded")
    parser.add_argument("--output", type=Path, help="a Markdown file; otherwise the table is only printed")
    options = parser.parse_args()
    before, found, left_out = load(), [], []
    for name in options.steps or STEPS:
        step, needed = STEPS[name]
        missing = [each for each in needed if getattr(options, each) is None]
        if missing:
            left_out.append(f"{name} was left out: it needs --{missing[0].replace('_', '-')}")
            continue
        rows = step(options)
        print(table(rows), flush=True)
        found += rows
    command = shlex.join(["python", *(Path(each).name if Path(each).is_absolute() else each for each in sys.argv)])
    text = (
        f"{machine()}; load average {before} before and {load()} after; {datetime.date.today()}; "
        f"median of {options.runs} runs in turns, one thread unless the step says otherwise.\n\n"
        f"```\n{command}\n```\n\n{table(found)}\n" + "".join(f"\n{sentence}.\n" for sentence in left_out)
    )
    print(text)
    if options.output:
        options.output.write_text(f"# Speed\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
