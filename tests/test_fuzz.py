"""A slice of `benchmarks/fuzz.py`: damaged and lying inputs of every kind end in a result or a clear error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = 18


def test_no_changed_input_ends_in_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/fuzz.py", "--count", "54", "--seed", "2", "--findings", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "54 inputs in " in done.stdout and " 0 findings" in done.stdout
    kinds = re.findall(r"^  (.+?) +(\d+)  (.*)$", done.stdout, re.MULTILINE)
    assert len(kinds) == KINDS and {count for _, count, _ in kinds} == {"3"}
    assert all(re.fullmatch(r"((read|[A-Z]\d{3}) \d+(, )?)+", ends) for *_, ends in kinds), done.stdout
