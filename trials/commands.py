"""The real command in a process of its own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from trials.watched import PROGRAMS

FORKS = sys.platform == "linux"
_SERVER = "trials.forked"
_ROOT = Path(__file__).parents[1]


def compressor(
    *arguments: str | Path,
    cwd: Path,
    env: dict[str, str] | None = None,
    downloads: bool = False,
    kill: tuple[float, int] | None = None,
    file_bytes: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `compressor` and return stdout, stderr and exit code apart.

    On Linux it is forked from a process that has imported the package: importing torch takes longer than most commands
    do. There it is also watched: it starts no program, and unless it `downloads` leaves the network alone. Elsewhere a
    fork is not sure to work, and the command is started as a person starts it.

    Args:
        arguments: of the command.
        cwd: where it runs.
        env: beside the environment.
        downloads: it may use the network.
        kill: send a signal after so many seconds; only where commands are forked.
        file_bytes: the most that may be written to a file; likewise.
    """
    words = [str(argument) for argument in arguments]
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    environment = {**clean, **(env or {})}
    if not FORKS:
        assert kill is None and file_bytes is None
        command = [sys.executable, "-m", "compressor", *words]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
    with tempfile.TemporaryDirectory() as folder:
        shown, told, watched = (Path(folder, name) for name in ("stdout", "stderr", "watched"))
        for file in (shown, told, watched):
            file.touch()  # it may be killed before it opens them
        files = {"stdout": str(shown), "stderr": str(told), "watched": str(watched)}
        job = {"arguments": words, "cwd": str(cwd), "env": environment, **files}
        line = json.dumps({**job, "kill": kill, "file_bytes": file_bytes})
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(line + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, f"{_SERVER} has ended with {server.wait()}"
        events = watched.read_text("utf-8").splitlines()
        assert not [line for line in events if not downloads or line.split()[0] in PROGRAMS]
        code = int(answer)
        return subprocess.CompletedProcess(
            ["compressor", *words], code, shown.read_text("utf-8"), told.read_text("utf-8")
        )


@functools.cache
def _server() -> subprocess.Popen[str]:
    """One per test process; it ends when its input does."""
    command = [sys.executable, "-m", _SERVER]
    server = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    """Close its input, at which it ends, and wait for that."""
    assert server.stdin is not None and server.stdout is not None
    server.stdin.close()
    server.wait()
    server.stdout.close()
