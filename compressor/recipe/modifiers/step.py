"""What every step of a recipe says of itself, whatever it does: what it alters, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.part import Name, Part
from compressor.recipe.targets import Target

Targets = Annotated[tuple[Target, ...], Field(strict=False)]  # strict mode would refuse a YAML list for a tuple

Alters = Literal["zeros", "values", "shapes", "numbers", "input"]  # numbers: the number format; input: the image size


class Calibration(Part):
    """Which unlabelled images show what the layers are given."""

    images: int = Field(32, ge=1, le=100_000, description="how many, drawn at random; all where there are fewer")
    data: Name = Field(None, min_length=1, description="a folder of images, or a data set other than the recipe's")
    split: Literal["train", "val", "test"] = Field("train", description="which split of the data set to draw from")
    image_size: int = Field(640, ge=32, le=8192, description="side in pixels of the square they are fitted into")
    seed: int = Field(0, ge=0, lt=2**32, description="decides which images are drawn, and all else that is random")
    judged: bool = Field(False, description="let images be drawn that the evaluation judges on; figures then flatter")


@dataclass(frozen=True)
class Selection:
    """The entries by which a step names its layers.

    Attributes:
        targets: layers that it touches.
        ignore: those of them that it does not.
        mapping: the key of the step that gives a value per entry; empty where none does.
        keys: the entries in that mapping; of several that match a layer the last one counts.
    """

    targets: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    mapping: str = ""
    keys: tuple[str, ...] = ()


class Step(Part):
    """One modifier of a recipe. A new kind says what it alters and answers what applies to it of the rest."""

    alters: ClassVar[frozenset[Alters]]
    compares: ClassVar[bool] = False  # whether it works towards the model as it was before all steps

    @property
    def selection(self) -> Selection | None:
        """How it names its layers; None where it is about the network as a whole."""
        return None

    @property
    def images(self) -> Calibration | None:
        """The calibration images that it needs; None where it needs none."""
        return None

    @property
    def tables(self) -> Mapping[str, str]:
        """Sensitivity tables that it names, by the key that names each."""
        return {}

    @property
    def goal(self) -> tuple[str, Budget] | None:
        """The key that holds a goal instead of a number, and the goal; None where every number is given."""
        return None

    def settled(self, number: float) -> Self:
        """The same step with a number where it holds a goal."""
        if self.goal is None:
            raise ValueError("there is no goal to settle")
        return self.model_copy(update={self.goal[0]: number})
