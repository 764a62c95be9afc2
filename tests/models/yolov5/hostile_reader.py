"""Reads every file of a folder by the real command line under an audit hook; what each came to, as JSON on stdout.

    python -m tests.models.yolov5.hostile_reader FOLDER WARMUP

The working folder is the canary's. WARMUP is a file that is read before the hook is set, so that imports are done.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from compressor.cli.main import main as command_line

# What reading a file needs none of: running code, starting processes, changing files, and the network.
FORBIDDEN = (
    *(
        "exec",
        "compile",
        "import",
        "marshal.",
        "pickle.",
        "code.",
        "cpython.",
        "ctypes.",
        "os.",
        "posix.",
        "subprocess.",
    ),
    *("shutil.", "socket.", "urllib.", "http.", "webbrowser.", "tempfile.", "pty.", "builtins.input"),
)
HARMLESS = ("os.listdir", "os.scandir", "os.putenv", "os.unsetenv")  # the last two change nothing outside


TIMEOUT_S = 120  # ends the process: a file that is read for so long is read for ever


class Watch:
    """An audit hook that notes what is forbidden while it is armed."""

    def __init__(self) -> None:
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called for every event of the interpreter."""
        if not self.armed:
            return
        if event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = (
                flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else mode not in (None, "r")
            )
            if writes:
                self.seen.append(f"open {arguments[0]} to write")
        elif event.startswith(FORBIDDEN) and event not in HARMLESS:
            self.seen.append(f"{event} {str(arguments)[:100]}")


def peak_mb() -> float:
    """Peak of the resident memory since it was last reset, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def outcome(watch: Watch, *arguments: str) -> dict[str, Any]:
    """How a command ends: its exit code, its text, its seconds and MB, and what it did that it must not."""
    sys.argv = ["compressor", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = peak_mb(), time.perf_counter()
    watch.seen, watch.armed = [], True
    try:
        with redirect_stdout(out), redirect_stderr(err):
            signal.alarm(TIMEOUT_S)
            command_line()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as fault:
        code, _ = -1, err.write(f"Traceback: {type(fault).__name__}: {fault}")
    watch.armed = False
    signal.alarm(0)
    seconds, memory = time.perf_counter() - start, peak_mb() - before
    told = {"arguments": arguments, "code": code, "out": out.getvalue()[-500:], "err": err.getvalue()[-1000:]}
    return {**told, "seconds": seconds, "mb": memory, "forbidden": watch.seen}


def main() -> None:
    """Read all files by `inspect`, and some of them by `check` too."""
    folder, warmup = map(Path, sys.argv[1:3])
    watch = Watch()
    for command in ("inspect", "check"):
        outcome(watch, command, str(warmup))
    "".encode("cp437")  # how zipfile reads names; imported on first use
    files = sorted(folder.iterdir())
    outcome(watch, "inspect", str(files[0]))
    results = [outcome(watch, "inspect", str(file)) for file in files]
    results += [outcome(watch, "check", str(file)) for file in files if file.suffix == ".yaml"]
    results += [outcome(watch, "check", str(file)) for file in files[::20]]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
