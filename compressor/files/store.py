"""What a long run keeps of its finished steps, each whole or not at all, and found only for just the same input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor.files.writing import publish, staged
from compressor.progress import Progress

_LISTING = "sha256.json"
_TITLE = "title.txt"
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Kept:
    """A folder of results, each some files under a key.

    Attributes:
        folder: is made when it is needed.
    """

    folder: Path

    def find(self, key: str) -> dict[str, bytes] | None:
        """The files that were kept under a key; None where there are none, or one of them is damaged."""
        place = self.folder / key
        try:
            listing = json.loads((place / _LISTING).read_bytes())
            files = {str(name): (place / str(name)).read_bytes() for name in listing}
        except (OSError, ValueError, TypeError):
            return None
        return files if {name: _sha256(content) for name, content in files.items()} == listing else None

    def keep(self, key: str, files: Files) -> None:
        """Keep files under a key; what was there under it is replaced.

        Raises:
            OutputError: O602 the folder cannot be written to.
        """
        with staged(self.folder / key) as aside:
            made = aside / key
            made.mkdir()
            for name, content in files.items():
                (made / name).write_bytes(content)
            listing = {name: _sha256(content) for name, content in files.items()}
            (made / _LISTING).write_text(json.dumps(listing), encoding="utf-8")
            publish(made, self.folder / key)


@dataclass(frozen=True)
class StepName:
    """A step of a run.

    Attributes:
        folder: in which it is cached.
        title: for the terminal.
    """

    folder: str
    title: str


@dataclass(frozen=True)
class Steps:
    """The finished steps of a run, in the folder of an unfinished run.

    Attributes:
        folder: holds a folder for each step.
        resume: take what is there; False does every step again, and replaces what was cached.
        progress: receives what is taken from the cache and what is done again.
        facts: what all steps depend on.
    """

    folder: Path
    resume: bool
    progress: Progress
    facts: dict[str, Any] = field(default_factory=dict)

    def find(self, step: StepName, key: str) -> dict[str, bytes] | None:
        """The files that were cached of a step under a key; None where it is to be done."""
        if not self.resume or not (self.folder / step.folder).is_dir():
            return None
        found = Kept(self.folder / step.folder).find(key)
        with self.progress.step(f"{step.title}: {'again, of other input' if found is None else 'kept'}"):
            return found

    def holds(self, step: StepName, key: str) -> bool:
        """Whether a step is cached under a key; not yet whether its files are whole."""
        return self.resume and (self.folder / step.folder / key).is_dir()

    def keep(self, step: StepName, key: str, files: Files) -> None:
        """Cache a step, instead of what was cached of it of other input."""
        place = self.folder / step.folder
        Kept(place).keep(key, files)
        (place / _TITLE).write_text(step.title, encoding="utf-8")
        for other in place.iterdir():
            if other.name not in (key, _TITLE):
                shutil.rmtree(other, ignore_errors=True)

    def drop(self, step: StepName) -> None:
        """Remove what was cached of a step."""
        shutil.rmtree(self.folder / step.folder, ignore_errors=True)

    def key(self, **facts: Any) -> str:
        """Digest of what a step depends on, with what all steps depend on."""
        text = json.dumps({**self.facts, **facts}, sort_keys=True, allow_nan=False)
        return _sha256(text.encode())[:32]

    @property
    def titles(self) -> list[str]:
        """Titles of the cached steps, in the order they were done."""
        return titles(self.folder)


def titles(folder: Path, since: float = 0.0) -> list[str]:
    """Titles of the steps cached in a folder, in the order they were done; empty if the folder does not exist.

    Args:
        folder: of the steps.
        since: seconds of the epoch; only those that were done then or later.
    """
    if not os.path.isdir(folder):  # noqa: PTH112  # false, too, for a name too long to be there
        return []
    done = ((place.stat().st_mtime_ns, step) for step in folder.iterdir() for place in step.glob(f"*/{_LISTING}"))
    return list(dict.fromkeys(_title(step) for time_ns, step in sorted(done) if time_ns >= since * 1e9))


def _title(step: Path) -> str:
    try:
        return (step / _TITLE).read_text(encoding="utf-8")
    except (OSError, ValueError):  # the run ended between the two
        return step.name


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
