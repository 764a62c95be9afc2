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
class Steps:
    """The finished steps of a run, by title, in the folder of an unfinished run.

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

    def find(self, title: str, key: str) -> dict[str, bytes] | None:
        """What was kept of a step under a key; None where it is to be done."""
        if not self.resume or not (self.folder / title).is_dir():
            return None
        found = Kept(self.folder / title).find(key)
        with self.progress.step(f"{title}: {'again, of other input' if found is None else 'kept'}"):
            return found

    def keep(self, title: str, key: str, files: Files) -> None:
        """Keep a step, instead of what was kept of it of other input."""
        Kept(self.folder / title).keep(key, files)
        for other in (self.folder / title).iterdir():
            if other.name != key:
                shutil.rmtree(other, ignore_errors=True)

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
    done = ((place.stat().st_mtime_ns, step.name) for step in folder.iterdir() for place in step.glob(f"*/{_LISTING}"))
    return list(dict.fromkeys(title for time_ns, title in sorted(done) if time_ns >= since * 1e9))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
