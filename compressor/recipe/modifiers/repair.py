"""The keys of `repair`, their types, ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from compressor.recipe.modifiers.step import Alters, Calibration, Selection, Step, Targets
from compressor.recipe.part import Dependents, where_it_counts

METHODS: Dependents = {
    "damping": (0.03, "least_squares", "obs"),
    "crops": (2, "least_squares", "obs"),
    "crop": (384, "least_squares", "obs", "distill"),
    "steps": (400, "distill"),
    "batch_size": (8, "distill"),
    "learning_rate": (0.0005, "distill"),
}


class Repair(Step):
    """Bring the layers' outputs back towards the dense model's on unlabelled images; no zero is lost."""

    alters: ClassVar[frozenset[Alters]] = frozenset({"values"})
    compares: ClassVar[bool] = True

    type: Literal["repair"]
    targets: Annotated[Targets, Field(min_length=1)] = Field(
        ("*",), description="which convolutions to repair, written as those of prune; the others stay as they are"
    )
    ignore: Targets = Field((), description="what to leave out of the targets, written the same way")
    method: Literal["bias", "moments", "least_squares", "obs", "distill", "batchnorm"] = Field(
        "least_squares",
        description="match every channel's mean; its mean and variance; solve the kept weights again layer by layer; "
        "choose the zeros again so that the rest can best make up for them, and solve; train the kept weights towards "
        "the dense model; or measure the statistics of BatchNorm again",
    )
    calibration: Calibration = Calibration()
    damping: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = Field(
        None,
        validate_default=True,
        description="of least_squares and obs: pull towards the weights as they were, as a share of the inputs' mean "
        "square; default 0.03",
    )
    crops: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, validate_default=True, description="of least_squares and obs: random crops of each image; default 2"
    )
    crop: Annotated[int, Field(ge=32, le=8192)] | None = Field(
        None,
        validate_default=True,
        description="of least_squares, obs and distill: side in pixels of the random crops, at most `image_size`; "
        "default 384",
    )
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, validate_default=True, description="of distill: steps of gradient descent; default 400"
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, validate_default=True, description="of distill: crops per step; default 8"
    )
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        None,
        validate_default=True,
        description="of distill: step size as a share of the root mean square of a layer's weights; default 0.0005",
    )

    @field_validator(*METHODS)
    @classmethod
    def _suits_the_method(cls, value: Any, info: ValidationInfo) -> Any:
        return where_it_counts(value, info, "method", METHODS)

    @property
    def selection(self) -> Selection:
        """The layers to repair."""
        return Selection(self.targets, self.ignore)

    @property
    def images(self) -> Calibration:
        """The images whose outputs are brought back."""
        return self.calibration
