"""What a run depends on beside its recipe, as digests by name: whether a finished run is still that of its input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from compressor.data.dataset import Split
from compressor.data.fetch import find_weights
from compressor.evaluation.evaluate import facts_of
from compressor.files.reading import regular_size
from compressor.progress import Silent
from compressor.recipe.load import RecipeFile
from compressor.results.sensitivity import table_text
from compressor.run.calibration import CalibrationImages
from compressor.run.environment import surroundings
from compressor.run.folder import sha256
from compressor.run.job import tables_of

NOTHING_KNOWN: Mapping[Path, str] = {}


class Inputs:
    """Tells the inputs of many runs; what they share is read once.

    Args:
        device: where they compute.
        digests: SHA-256 of files, as far as they are known.
    """

    def __init__(self, device: torch.device, digests: Mapping[Path, str] = NOTHING_KNOWN) -> None:
        self.around = _around(device)
        self.digests = dict(digests)

    def of(self, recipe_file: RecipeFile, split: Split | None, report_files: Sequence[Path]) -> dict[str, str]:
        """Digests of all that a run of a recipe depends on.

        Args:
            recipe_file: the recipe.
            split: the images that it evaluates on; None where it does not.
            report_files: the template and the reference, as far as they are named.

        Raises:
            CheckpointError, DatasetError, DownloadError, InputError, OSError, RecipeError: an input is not there.
        """
        recipe = recipe_file.recipe
        evaluated_on = [sample.image for sample in split.samples] if split else []
        tables = {name: table_text(table) for name, table in tables_of(recipe_file).items()}
        return {
            "recipe": _digest(recipe.model_dump(mode="json")),
            "weights": self._sha256(find_weights(str(recipe.model.weights))),
            "data": _digest(facts_of(split, recipe.evaluation)) if split else "",
            "calibration images": _digest(CalibrationImages(recipe_file, evaluated_on, 1, Silent()).digests()),
            "tables": _digest(tables),
            "template and reference": _digest([self._sha256(file) for file in report_files]),
            **self.around,
        }

    def _sha256(self, file: Path) -> str:
        if file not in self.digests:
            regular_size(file)  # no device that never ends
            self.digests[file] = sha256(file)
        return self.digests[file]


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the inputs that are not the same; all of them where an earlier version recorded none."""
    return [name for name in now if then.get(name) != now[name]]


def _around(device: torch.device) -> dict[str, str]:
    facts = surroundings(device)
    compressor = {name: facts.pop(name) for name in ("compressor", "source")}
    packages = {name: facts.pop(name) for name in ("packages", "beneath", "python")}
    threads = facts.pop("threads")
    return {
        "compressor": _digest(compressor),
        "packages": _digest(packages),
        "threads": str(threads),
        "device and machine": _digest(facts),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
