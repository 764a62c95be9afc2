"""A command that is forked does what one does that is started as a person starts it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trials import commands
from trials.tiny import tiny_data, tiny_weights

CASES = {
    0: ("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--image-size", "64", "--json", "--device", "cpu"),
    2: ("apply", "absent.yaml"),
}


@pytest.mark.skipif(not commands.FORKS, reason="commands are not forked here")
@pytest.mark.parametrize("code", CASES)
def test_forked_and_started_commands_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    tiny_data(tmp_path)
    tiny_weights(tmp_path)
    forked = commands.compressor(*CASES[code], cwd=tmp_path)
    monkeypatch.setattr(commands, "FORKS", False)
    started = commands.compressor(*CASES[code], cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[2])})
    assert forked.returncode == started.returncode == code
    assert bool(forked.stdout) == (code == 0) and forked.stderr
    assert timeless(forked.stdout) == timeless(started.stdout)
    assert timeless(forked.stderr) == timeless(started.stderr)


def timeless(text: str) -> str:
    return re.sub(r"(_ms\": )[\d.e-]+| *\d+\.\d s\b", r"\1-", text)
