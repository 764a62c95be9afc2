"""The same recipe, input and device give the same bytes, whatever the process."""

import os
import subprocess
import sys
from pathlib import Path

from trials.commands import compressor
from trials.kills import QUICK, make_inputs, timeless

WHOLE = (
    *("apply", "r.yaml", "--output", "whole"),
    *("--set", "modifiers.0.sparsity=0.5", "--set", "evaluation.baseline=false"),
)
FREE = (*QUICK, "--set", "modifiers.1={type: prune, sparsity: 0.8, allocation: lamp}")  # of data
BOTH = """
import sys, torch
from compressor.cli.main import main
sys.argv[0] = "compressor"
words = sys.argv[1:]
at = words.index("then")
for threads, part in ((1, words[:at]), (2, words[at + 1:])):
    torch.set_num_threads(threads)
    sys.argv[1:] = part
    main()
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """One has hash seed 1 and takes a second thread for the recipe without data, the other one thread throughout."""
    places = tmp_path / "one", tmp_path / "two"
    for place in places:
        make_inputs(place)
    code = [sys.executable, "-c", BOTH, *WHOLE, "then", *FREE]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(code, cwd=places[0], env=environment, check=True, capture_output=True)
    for words in (WHOLE, FREE):
        done = compressor(*words, cwd=places[1])
        assert done.returncode == 0, done.stderr
    for folder in ("whole", "out"):
        one, two = (timeless(place / folder) for place in places)
        assert {name for name in {**one, **two} if one.get(name) != two.get(name)} == set()
        assert {"model.safetensors", "run.json"} <= set(one)
