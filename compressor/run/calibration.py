"""The calibration images of a run: drawn for each step that asks for some, read once, and known by their digests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from compressor.data.batches import fit_image_size
from compressor.data.calibration import draw, find_calibration_images, load_images, same_images
from compressor.data.dataset import not_drawn
from compressor.errors import DatasetError, Diagnostic, RecipeError
from compressor.progress import Progress
from compressor.recipe.load import RecipeFile
from compressor.recipe.modifiers.step import Calibration
from compressor.run.folder import sha256


class CalibrationImages:
    """Gives each step the calibration images it asks for; those asked for last are kept.

    Args:
        recipe_file: names the data set that they are drawn from where a step does not.
        judged: images that the evaluation judges on.
        stride: the largest of the network; image sizes are rounded up to it.
        progress: told of reading them.
    """

    def __init__(self, recipe_file: RecipeFile, judged: Iterable[Path], stride: int, progress: Progress) -> None:
        self.recipe_file = recipe_file
        self.judged = tuple(judged)
        self.stride = stride
        self.progress = progress
        self.last: tuple[Calibration, Tensor] | None = None
        self.known: dict[Path, str] = {}  # SHA-256 of the files that were read
        self.warnings: list[str] = []  # of what a data set leaves open or lacks, each once
        self.drawn: dict[Calibration, list[Path]] = {}

    def __call__(self, wanted: Calibration) -> Tensor:
        """(N, 3, S, S) in [0, 1].

        Raises:
            RecipeError, DatasetError: see `files` and `load_images`.
        """
        if self.last is None or self.last[0] != wanted:
            files = self.files(wanted)
            with self.progress.step(_reading(files)):
                self.last = wanted, load_images(files, fit_image_size(wanted.image_size, self.stride), self.known)
        return self.last[1]

    def sha256(self, file: Path) -> str:
        """Of an image as it was when it was first read; `__call__` gives no other."""
        return self.known.setdefault(file, sha256(file))

    def _tell(self, sentence: str) -> None:
        """Warn once of what was taken where a data set leaves a choice, and of images that are not there."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self.progress.warn(sentence)

    def check(self, *, draws: bool = True) -> None:
        """Refuse what a step asks for before any work is done.

        Args:
            draws: draw the embedded data set where a step asks for it; it is known to be good.

        Raises:
            RecipeError, DatasetError: see `files`.
        """
        for step in self.recipe_file.recipe.modifiers:
            wanted = step.images
            if wanted is not None and (draws or not not_drawn(wanted.data or self.recipe_file.recipe.data)):
                self.files(wanted)

    def digests(self) -> list[list[list[str]]]:
        """Name and SHA-256 of every image that a step draws, by step: what a result by these images depends on."""
        wanted = [step.images for step in self.recipe_file.recipe.modifiers if step.images is not None]
        return [[[file.name, self.sha256(file)] for file in self.files(each)] for each in wanted]

    @property
    def titles(self) -> tuple[str, ...]:
        """Of reading the images that were asked for by now, in the account of where the time went."""
        return tuple(map(_reading, self.drawn.values()))

    def files(self, wanted: Calibration) -> list[Path]:
        """The images that a step draws.

        Raises:
            RecipeError: R112 neither the step nor the recipe names a data set.
            DatasetError: D411 an image is judged on as well; see also `find_calibration_images`.
        """
        if wanted not in self.drawn:
            self.drawn[wanted] = self._draw(wanted)
        return self.drawn[wanted]

    def _draw(self, wanted: Calibration) -> list[Path]:
        source = wanted.data or self.recipe_file.recipe.data
        if source is None:
            help_text = "name it with --data, or in the step: calibration: {data: FOLDER}"
            fault = self.recipe_file.place().diagnostic("R112", "no data set to calibrate with is named", help_text)
            raise RecipeError(fault)
        files = draw(find_calibration_images(source, wanted.split, self._tell), wanted.images, wanted.seed)
        both = [] if wanted.judged else same_images(files, self.judged)
        if both:
            message = f"{len(both)} of the {len(files)} calibration images are judged on too, such as {both[0].name}"
            help_text = "name other images: calibration: {data: FOLDER}; or accept it: calibration: {judged: true}"
            raise DatasetError(Diagnostic("D411", message, source, help=help_text))
        return files


def _reading(files: Sequence[Path]) -> str:
    return f"read {len(files)} calibration images"
