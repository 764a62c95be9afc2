"""Kill commands at random moments, let them go on, and compare what they write with what an uninterrupted one does."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor.results.run import load_run
from compressor.run.report import rendered
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
ENDS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
QUICK = ("apply", "r.yaml", "--output", "out", "--no-evaluate", "--set", "modifiers.0.sparsity=0.5")
COMMANDS = {
    "apply without figures": QUICK,
    "apply": ("apply", "r.yaml", "--output", "out"),
    "apply --force": ("apply", "r.yaml", "--output", "out", "--force"),
    "sweep": ("sweep", "r.yaml", "--over", "modifiers.0.score=magnitude,random", "--output", "out"),
    "sensitivity": (
        *("sensitivity", "tiny.safetensors", "--data", "images", "--images", "2", "--image-size", "64"),
        *("--sparsities", "0.3,0.6", "--output", "out/t.json", "--emit", "out/emitted.yaml"),
    ),
}
_TIMES = re.compile(
    rb'("(?:started|duration_s|report_sha256|threads|device and machine|\w+_ms)": )[^\n]*'
    rb'|("steps": )\[.*?\n  \]|("data": )"[0-9a-f]{32}"',
    re.DOTALL,
)  # and what times decide, the number of threads, the environment's variables, or the folder that the data lie in
_HEAVY = """  - type: repair
    method: bias
    calibration: {images: 3, image_size: 64, split: train}
evaluation:"""


def make_inputs(folder: Path) -> None:
    """A tiny model, a few images, and a recipe that searches, repairs, judges and exports."""
    folder.mkdir()
    tiny_weights(folder)
    tiny_data(folder, images=6)
    recipe = tiny_recipe(folder, "r")
    text = recipe.read_text().replace("sparsity: 0.5", "sparsity: {ap_drop: 0.002, images: 3}")
    recipe.write_text(text.replace("evaluation:", _HEAVY) + "exports: [{format: dense}]\n")
    (folder / "earlier.yaml").write_text(recipe.read_text().replace("{ap_drop: 0.002, images: 3}", "0.25"))


class FullDisk:
    """In the place of `Path.open`: one of the files opened for writing from now on finds the disk full.

    Args:
        number: which one, from 1.
    """

    def __init__(self, number: int) -> None:
        self.left = number
        self.opened = Path.open

    def __call__(self, path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        self.left -= "w" in mode
        file = self.opened(path, mode, *rest, **more)
        if self.left or "w" not in mode:
            return file
        file.close()  # half-written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def bind(self) -> Callable[..., Any]:
        """As a method of Path."""

        def method(path: Path, *rest: Any, **more: Any) -> Any:
            return self(path, *rest, **more)

        return method


def timeless(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without the times; reports are known by the records that they are rendered from."""
    files = {}
    for place in sorted(folder.rglob("*")):
        name = place.relative_to(folder).as_posix()
        if place.is_dir():
            files[f"{name}/"] = b""
        elif place.name == "run.json":
            files[name] = _TIMES.sub(rb"\1\2\3-", place.read_bytes())
        elif place.name == "report.md":
            files[name] = (
                b"of its record" if place.read_text() == rendered(load_run(place.parent), place.parent) else b""
            )
        elif place.name not in ("comparison.md", "pareto.png"):  # made of the records, with times
            files[name] = place.read_bytes()
        else:
            files[name] = b"" if place.stat().st_size == 0 else b"there"
    return {name: content for name, content in files.items() if not name.startswith(".baselines")}


@dataclass
class Trials:
    """Counts what became of killed commands.

    Attributes:
        folder: to work in.
        seed: decides the moments and the signals.
        counts: by command, signal and outcome.
    """

    folder: Path
    seed: int
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.whole: dict[str, dict[str, bytes]] = {}
        self.lasts: dict[str, float] = {}

    def uninterrupted(self, kind: str) -> None:
        """What the command writes and how long it takes."""
        place = self._fresh(kind)
        assert compressor("--version", cwd=place).returncode == 0  # which starts what commands are forked from
        start = time.monotonic()
        done = compressor(*COMMANDS[kind], cwd=place)
        self.lasts[kind] = time.monotonic() - start
        assert done.returncode == 0, done.stderr
        self.whole[kind] = timeless(place / "out")

    def kill(self, kind: str) -> int:
        """Kill the command at random moments, mostly once, then let it go on to the end; how many kills it took."""
        if kind not in self.whole:
            self.uninterrupted(kind)
        place, kills, words = self._fresh(kind), 0, COMMANDS[kind]
        earlier = timeless(place / "out") if (place / "out").exists() else None
        while True:
            number = self.random.choice(SIGNALS)
            done = compressor(*words, cwd=place, kill=(self.random.uniform(0, 0.9 * self.lasts[kind]), number))
            self._check_between(kind, place, earlier)
            if done.returncode == 0:  # it was done before
                self.counts["done before the signal"] += 1
                break
            if (done.returncode, done.stderr) == (-number, "") and number != signal.SIGKILL:  # before it had begun
                continue
            assert done.returncode == ENDS[number], (done.returncode, number, done.stderr)
            assert "Traceback" not in done.stderr, done.stderr
            kills += 1
            self.counts[f"{kind}, {signal.Signals(number).name}"] += 1
            if number != signal.SIGKILL:
                self._check_told(kind, place, done.stderr)
            if kind.startswith("apply"):
                words = (*COMMANDS[kind], "--resume")
            if self.random.random() < 2 / 3:
                break
        self._finish(kind, place, words)
        return kills

    def _finish(self, kind: str, place: Path, words: Iterable[str]) -> None:
        if (
            kind.startswith("apply") and "--force" not in words and (place / "out").exists()
        ):  # killed after it was in place
            self.counts["killed when it was in place"] += 1
        else:
            done = compressor(*words, cwd=place)
            already = kind == "sensitivity" and done.returncode == 2 and "O601" in done.stderr  # likewise
            assert done.returncode == 0 or already, done.stderr
            self.counts["kept steps taken"] += done.stderr.count(": kept ")
        found = timeless(place / "out")
        different = {name for name in {**found, **self.whole[kind]} if found.get(name) != self.whole[kind].get(name)}
        assert not different, (kind, different)
        left = {path.name for path in place.iterdir() if path.name.startswith(".")}
        assert left <= ({".out.unfinished", ".out.lock"} if "--force" not in words else set()), left

    def _check_between(self, kind: str, place: Path, earlier: dict[str, bytes] | None) -> None:
        """Nothing half-written stands where a whole thing would be."""
        out = place / "out"
        if kind == "apply --force" and not out.exists():  # between two renames: the next command puts it back
            assert list((place / ".out.unfinished").glob("*.old"))
            self.counts["killed between two renames"] += 1
        elif kind.startswith("apply"):
            assert not out.exists() or timeless(out) in (self.whole[kind], earlier)
        elif kind == "sweep":
            for record in out.glob("*/run.json"):
                name = record.parent.name
                whole = {key: each for key, each in self.whole[kind].items() if key.startswith(f"{name}/")}
                assert {f"{name}/{key}": each for key, each in timeless(record.parent).items()} == {
                    key: each for key, each in whole.items() if key != f"{name}/"
                }
        else:
            for file in out.glob("[!.]*"):
                assert file.name.endswith(".partial.jsonl") or file.read_bytes() == self.whole[kind][file.name]

    def _check_told(self, kind: str, place: Path, told: str) -> None:
        """Ctrl-C and SIGTERM leave nothing but what was kept, and say how to go on."""
        assert "interrupted; " in told, told
        assert not list(place.rglob(".*.lock")), told
        assert not list(place.rglob(".*.partial")), told
        if kind.startswith("apply") and (place / ".out.unfinished").exists():
            assert f"To go on: compressor {' '.join(COMMANDS[kind])} --resume" in told

    def _fresh(self, kind: str) -> Path:
        place = self.folder / "inputs"
        if not place.exists():
            make_inputs(place)
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(place, work)
        if kind == "apply --force":
            if not (self.folder / "earlier").exists():
                assert compressor("apply", "earlier.yaml", "--output", "out", cwd=work).returncode == 0
                shutil.copytree(work / "out", self.folder / "earlier")
            else:
                shutil.copytree(self.folder / "earlier", work / "out")
        return work
