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
from typing import NamedTuple

import speed_judging
import speed_pruning
import speed_running
from side_by_side import Comparison, load, machine, table


class Step(NamedTuple):
    """A heading, what measures, the options it needs, and what to know of its figures."""

    heading: str
    measure: Callable[[argparse.Namespace], list[Comparison]]
    needs: tuple[str, ...]
    remark: str


STEPS = {
    "pruning": Step(
        "Pruning",
        speed_pruning.pruning,
        (),
        "The threshold is found by counting, and nothing is copied. LAMP has to sort every layer, which takes most of "
        "its time. The peers keep a mask and a copy of every weight, as PyTorch's pruning does.",
    ),
    "coco": Step(
        "COCO figures",
        speed_judging.coco,
        ("ground_truth",),
        "Objects are those of COCO val2017; detections are made up, four near every object and others anywhere.",
    ),
    "nms": Step("Suppression", speed_judging.suppression, (), "Boxes crowd around 60 objects of 80 classes."),
    "images": Step(
        "Images",
        speed_running.images,
        ("data",),
        "Decoding is OpenCV's on both sides and takes most of the CPU time; ours runs on all cores, ahead of use.",
    ),
    "inference": Step(
        "Inference",
        speed_running.inference,
        ("weights",),
        "Of float32 more than four fifths of our time are spent in oneDNN's convolutions, which are the peer's too, so "
        "little more can be had without another runtime: frozen TorchScript, TorchScript optimised for inference and "
        "weights packed ahead were no faster. `compressor benchmark --backend openvino` tells what another runtime "
        "gives. The weights of YOLOv5s are random.",
    ),
    "evaluate": Step(
        "Whole evaluation",
        speed_running.evaluate,
        ("data", "weights"),
        "From image files to figures, in batches of 8. AP and AP50 are compared, within 0.0005 in float32 and 0.002 in "
        "bfloat16; how far the others differ is told.",
    ),
    "loading": Step(
        "Loading",
        speed_running.loading,
        (),
        "The peer is given a state dict and the network's description, and checks nothing. A checkpoint may hold "
        "anything, so ours interprets its pickle instruction by instruction and looks at every number.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all when none is named")
    parser.add_argument("--data", help="a dataset YAML with COCO images")
    parser.add_argument("--weights", type=Path, help="a YOLOv5n checkpoint")
    parser.add_argument("--ground-truth", type=Path, help="COCO instances JSON of val2017, may be gzipped")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", default="x", choices=list("nsmlx"), help="network that is pruned and loaded")
    parser.add_argument("--output", type=Path, help="a Markdown file; otherwise the tables are only printed")
    options = parser.parse_args()
    sections = []
    for name in options.steps or STEPS:
        step = STEPS[name]
        missing = [each for each in step.needs if getattr(options, each) is None]
        if missing:
            sections.append(f"## {step.heading}\n\nLeft out: it needs --{missing[0].replace('_', '-')}.")
            continue
        before = load()
        found = table(step.measure(options))
        busy = f"Load average {before} before and {load()} after."
        sections.append(f"## {step.heading}\n\n{found}\n\n{step.remark} {busy}")
        print(sections[-1], flush=True)
    command = shlex.join(["python", *sys.argv])
    head = (
        f"Every step beside the plain way of doing it. {machine()}; {datetime.date.today()}; median of {options.runs} "
        "runs in turns (more for suppression and inference), after one that compares the answers; one thread unless "
        "the step says otherwise. CPU seconds are user and system; memory is the peak beyond what was held before."
    )
    text = "\n\n".join(("# Speed", head, f"```\n{command}\n```", *sections)) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
