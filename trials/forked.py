"""Runs commands that stand on its input, a JSON document a line, each in a fork, and answers with the exit code.

A document may ask for a signal after some seconds."""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

import compressor
import compressor.cli.main
from compressor.cli.interrupts import exit_at_once
from compressor.cli.streams import prepare_streams
from compressor.evaluation.nms import Limits, suppress
from compressor.report.canvas import canvas, png
from trials.watched import watch

LONGEST_S = 300


def prepare() -> None:
    """Do once what each command would do again: import our modules, and start Numba and matplotlib."""
    for each in pkgutil.walk_packages(compressor.__path__, "compressor."):
        import_module(each.name)
    suppress(np.zeros((1, 6), np.float32), Limits(0.5, 1))  # the first compiled loop takes as long as a command
    png(canvas(1, 1), "")
    with torch.device("meta"):  # the first of these loads a symbolic algebra system
        torch.nn.Conv2d(1, 1, 1)(torch.empty(1, 1, 1, 1))
    if os.environ.get("OMP_NUM_THREADS") == "1":
        assert len(list(Path("/proc/self/task").iterdir())) == 1, (
            "a fork has none of the other threads, and may wait for them"
        )


def main() -> None:
    prepare()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what a fork is told before it has begun is not this loop's
    gc.freeze()  # what is imported is shared by all forks
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            command(job)
        if job["kill"]:
            after_s, number = job["kill"]
            time.sleep(after_s)
            os.kill(child, number)  # not waited for yet, so the number is still the child's
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def command(job: dict[str, Any]) -> NoReturn:
    """What `python -m compressor` does, but for the imports."""
    exit_at_once()
    signal.alarm(LONGEST_S)  # a hang ends as exit code -14
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    if job["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], job["file_bytes"]))
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    prepare_streams()
    watch(Path(job["watched"]))
    sys.argv = ["compressor", *job["arguments"]]
    try:
        compressor.cli.main.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
