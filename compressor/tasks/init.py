"""A first recipe for a checkpoint and a goal: how sparse it has to be, and its text with a comment on every key."""

from __future__ import annotations

import copy
import math
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compressor.artifact.load import fetch_and_load
from compressor.artifact.save import Form, Layout, stored_dtype
from compressor.artifact.stored_form import StoredForm
from compressor.errors import Diagnostic, InputError, PlanError, RecipeError
from compressor.models.convolution import Convolution
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.modifiers.prune.redundant import check_every_prune_matters
from compressor.modifiers.prune.zeros import keep_masks
from compressor.modifiers.steps import resolve, resolved
from compressor.plan.layers import Layer, convolutions, outlined
from compressor.plan.outline import Outline
from compressor.plan.targets import Spot
from compressor.printable import printable
from compressor.progress import Progress, warn_of
from compressor.recipe.commented import YOUR_DATA, comment, commented
from compressor.recipe.load import check_part
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.nodes import Place
from compressor.recipe.schema import Artifact, Evaluation, Model, Recipe
from compressor.recipe.targets import ROLES
from compressor.results.units import megabytes, percent
from compressor.run.forecast import forecast_size
from compressor.run.search import MOST, SIZE_STEPS, lowest_step, out_of_reach

# What measured figures decided, see docs/accuracy.md: which zeros cost the least AP once the rest is repaired.
ALLOCATION = "lamp"
SPARSITY = 0.3
OBS_FROM = 0.4  # the sparsity from which it pays to choose the zeros anew; a pattern always does
IMAGES, CROP = 128, 512  # to repair by, one crop of each; more keep more AP, and take more time and memory

_NAMES_WIDTH = 200  # letters of class names in a comment


@dataclass(frozen=True)
class Goal:
    """What a recipe is to reach. At most one of the first four is given; without any it is `SPARSITY`.

    Attributes:
        sparsity: fraction of the convolution weights to set to zero.
        size_bytes: the largest file.
        share: the largest file, as a fraction of the dense file of the same number type.
        pattern: N of every M weights stay, such as `2:4`.
        allocation: how the sparsity is shared out; None for `ALLOCATION`, and with a pattern.
    """

    sparsity: float | None = None
    size_bytes: int | None = None
    share: float | None = None
    pattern: str | None = None
    allocation: str | None = None

    @property
    def is_a_size(self) -> bool:
        """Whether a sparsity has to be searched for."""
        return self.size_bytes is not None or self.share is not None

    @property
    def option(self) -> str:
        """The option that gives it."""
        return "--pattern" if self.pattern else "--size" if self.is_a_size else "--sparsity"

    def __str__(self) -> str:
        """The goal as the end of a sentence on the model."""
        if self.pattern is not None:
            return f"keeps {self.pattern.replace(':', ' of every ')} neighbouring weights."
        if self.share is not None:
            return f"goes into a file of at most {100 * self.share:g} % of its dense size."
        if self.size_bytes is not None:
            return f"goes into a file of at most {self.size_bytes:,} bytes."
        return f"loses {100 * (self.sparsity or SPARSITY):g} % of its convolution weights."


@dataclass(frozen=True)
class Starter:
    """A recipe to start from.

    Attributes:
        recipe: the recipe.
        text: the same as commented YAML.
        size_bytes: what the compressed file will weigh.
        dense_bytes: what it would weigh with every weight stored.
    """

    recipe: Recipe
    text: str
    size_bytes: int
    dense_bytes: int


def start(weights: str, data: str | None, goal: Goal, file: str, progress: Progress) -> Starter:
    """The recipe that reaches a goal on a checkpoint; it loads and plans without a fault.

    Args:
        weights: a path, a URL or a name, as in a recipe.
        data: a data set, as in a recipe, or None.
        goal: what to reach.
        file: what the recipe's file will be called; for the comments that tell how to run it.
        progress: is told of loading and of the search.

    Raises:
        InputError: U905 the goal is out of this model's reach.
        RecipeError, PlanError: a value is out of range or does not fit the model; its option is named as the place.
        CheckpointError, DownloadError: see `fetch_and_load`.
    """
    for place, text in (("WEIGHTS", weights), ("--data", data or "")):
        if any("\ud800" <= letter <= "\udfff" for letter in text):  # how Python reads a name that is not UTF-8
            message = "the name is not UTF-8 text, and a recipe is"
            raise RecipeError(Place(place).diagnostic("R107", message, "rename the file"))
    with progress.step(f"load {weights}"):
        path, loaded = fetch_and_load(weights, progress)
        candidates = _Candidates(weights, data, path.name, goal, loaded.model)
    warn_of(progress, loaded.warnings, "")
    sparsity = SPARSITY if goal.sparsity is None else goal.sparsity
    if goal.is_a_size:
        with progress.step("search the sparsity"):
            sparsity = _lowest_sparsity(candidates)
    recipe = candidates.recipe(sparsity)
    candidates.check(recipe)
    sizes = candidates.size(recipe), candidates.size(recipe, "dense", pruned=False)
    header = _header(candidates.source, path, recipe, file, *sizes)
    return Starter(recipe, commented(recipe, [*header], candidates.notes(recipe)), *sizes)


class _Flags:
    """Names the option that a value of the recipe comes from."""

    def place(self, *location: str | int) -> Place:
        """`--sparsity` for modifiers[0].sparsity."""
        return Place(f"--{location[2]}" if len(location) > 2 else "the command line")

    key_place = place


class _Candidates:
    """Recipes for one checkpoint and one goal that differ in their sparsity, and the files they will make.

    Everything is counted from masks; no model is changed.
    """

    def __init__(self, weights: str, data: str | None, file_name: str, goal: Goal, source: Detector) -> None:
        self.weights, self.data, self.file_name, self.goal, self.source = weights, data, file_name, goal, source
        self.finished = family_of(source).fold(copy.deepcopy(source))
        self.layers = convolutions(self.finished, source)
        self.known = [layer.convolution for layer in self.layers]
        self.narrow = [] if goal.pattern is None else _too_narrow(self.known, goal.pattern)
        self.evaluation = Evaluation(image_size=1280) if max(source.strides) > 32 else Evaluation()
        self.artifact = Artifact()
        self.held = {layer.name: self._held(layer) for layer in convolutions(self.finished)}

    def recipe(self, sparsity: float) -> Recipe:
        """The recipe of this sparsity; where the goal is a pattern, that of the pattern."""
        choose = self.goal.pattern is not None or sparsity >= OBS_FROM
        method: Literal["obs", "least_squares"] = "obs" if choose else "least_squares"
        if self.goal.pattern is not None:
            modifier = _n_of_m(self.goal.pattern, _entries(self.narrow, self.known))
        else:
            score = "magnitude" if self.source.fused else "raw_magnitude"
            shared = {"score": score, "allocation": self.goal.allocation or ALLOCATION, "sparsity": sparsity}
            modifier = check_part(Prune, {"type": "prune", **shared})
        parts = {
            "version": 1,
            "description": f"{self.source.spec.name} {self.goal}",
            "model": Model(weights=self.weights),
            "modifiers": (modifier, repair_step(method)),
            "evaluation": self.evaluation,
            "artifact": self.artifact,
        }
        return check_part(Recipe, parts if self.data is None else {**parts, "data": self.data})

    def check(self, recipe: Recipe) -> None:
        """Refuse what a run would refuse.

        Raises:
            PlanError: P204 the sparsity takes no weight, or every one.
            InputError: U905 no layer can hold the pattern, or the model is as sparse already.
        """
        touched = self._touched
        if not touched:
            help_text = "ask for a pattern over fewer channels"
            raise _out_of_reach(self.goal.option, f"no layer can hold {self.goal.pattern}", help_text)
        try:
            steps = resolve(recipe.modifiers, outlined(self.layers), _Flags())
            check_every_prune_matters(steps, self.layers)
        except PlanError as fault:
            if any(each.code != "P205" for each in fault.diagnostics):
                raise
            zeros = sum(layer.zeros for layer in touched) / sum(layer.convolution.weights for layer in touched)
            message = f"nothing would change: {percent(zeros)} of the weights are zero already"
            help_text = f"ask for more than --sparsity {math.ceil(1000 * zeros) / 1000:g}, or name the dense checkpoint"
            raise _out_of_reach(self.goal.option, message, help_text) from fault

    def size(self, recipe: Recipe, layout: Layout | None = None, *, pruned: bool = True) -> int:
        """Exact bytes of the recipe's file, of the same in another layout, or of the same with nothing pruned."""
        form = Form(self.artifact.dtype, layout or self.artifact.layout)
        first = recipe.modifiers[0]
        assert isinstance(first, Prune)
        zeros = self._zeros(first if pruned else None)
        return forecast_size(recipe, self.file_name, StoredForm(self.finished, form), zeros)

    def limit(self, recipe: Recipe) -> int:
        """The goal in bytes, where it is a size."""
        if self.goal.share is not None:
            return int(self.goal.share * self.size(recipe, "dense", pruned=False))
        assert self.goal.size_bytes is not None
        return self.goal.size_bytes

    def notes(self, recipe: Recipe) -> dict[str, str]:
        """What only this checkpoint and this goal explain, by key."""
        notes = {}
        if recipe.data is None:
            notes["data"] = "needed to judge the model: here, or as --data; `apply --no-evaluate` does without"
        if self.narrow:
            channels = max(convolution.shape[1] for convolution in self.narrow)
            notes["ignore"] = f"here what cannot hold {self.goal.pattern}: layers of at most {channels} input channels"
        if self.goal.is_a_size:
            limit = self.limit(recipe)
            notes["sparsity"] = f"here the lowest, in steps of 0.1 %, whose file has at most {limit:,} bytes"
        return notes

    @property
    def _touched(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.convolution not in self.narrow)

    def _zeros(self, modifier: Prune | None) -> dict[str, int]:
        """Zeros of every layer in the file; None prunes nothing."""
        kept = dict(self.held)
        if modifier is not None:
            for layer, mask in zip(self._touched, keep_masks(self._touched, modifier), strict=True):
                kept[layer.name] = mask & kept[layer.name]
        return {name: int(mask.size - mask.sum()) for name, mask in kept.items()}

    def _held(self, layer: Layer) -> Any:
        """Mask (numel,) of the weights that are not zero in the file, even if none is pruned.

        BatchNorm can scale a channel by zero, and a weight can be too small for the file's number type.
        """
        dtype = stored_dtype(layer.weight, self.artifact.dtype)
        return (layer.weight.to(dtype) != 0).cpu().numpy().reshape(-1)


def _lowest_sparsity(candidates: _Candidates) -> float:
    """The sparsity from which on the file is small enough, by bisection: a step below it the file is larger.

    Raises:
        InputError: U905 the file cannot be that small, or is so with nothing pruned.
    """

    def fits(step: int) -> bool:
        recipe = candidates.recipe(step / SIZE_STEPS)
        return candidates.size(recipe) <= candidates.limit(recipe)

    high = int(MOST * SIZE_STEPS)
    last = candidates.recipe(high / SIZE_STEPS)
    unpruned = min(candidates.size(last, pruned=False), candidates.size(last, "dense", pruned=False))
    if not fits(high) or candidates.limit(last) >= unpruned:
        message = out_of_reach(candidates.limit(last), candidates.size(last), unpruned)
        if fits(high):
            help_text = f"with nothing pruned it is as small; to prune it anyway give --sparsity {SPARSITY:g}"
        else:
            help_text = f"{100 * high / SIZE_STEPS:g} % zeros give the smallest; below it take a smaller network"
        raise _out_of_reach("--size", message, help_text)
    return lowest_step(fits, high) / SIZE_STEPS


def _out_of_reach(place: str, message: str, help_text: str) -> InputError:
    return InputError(Diagnostic("U905", message, place, help=help_text))


def repair_step(method: Literal["obs", "least_squares"], **calibration: Any) -> Repair:
    """The repair that is proposed, unless `calibration` says otherwise of its images."""
    images = check_part(Calibration, {"images": IMAGES, **calibration})
    return Repair(type="repair", method=method, calibration=images, crops=1, crop=CROP)


def _n_of_m(pattern: str, ignore: tuple[str, ...] = ()) -> Prune:
    return check_part(Prune, {"type": "prune", "pattern": pattern, "ignore": ignore})


def _too_narrow(known: Sequence[Convolution], pattern: str) -> list[Convolution]:
    """The convolutions that cannot hold the pattern, by the rule a plan goes by."""
    modifier = _n_of_m(pattern)
    alone = {each.name: resolved(modifier, Spot(_Flags(), 0), Outline((each,)))[1] for each in known}
    return [each for each in known if any(error.code == "P202" for error in alone[each.name])]


def _entries(chosen: Sequence[Convolution], known: Sequence[Convolution]) -> tuple[str, ...]:
    """`chosen` as entries of `ignore`: by role where it is a whole role, else by name."""
    whole = [role for role in ROLES if all(each in chosen for each in known if each.role == role)]
    return (*whole, *(each.name for each in chosen if each.role not in whole))


def _header(model: Detector, path: Path, recipe: Recipe, file: str, size_bytes: int, dense_bytes: int) -> Iterator[str]:
    """Comments: what the checkpoint is, how to run the recipe, what it will give."""
    data = "" if recipe.data else f" --data {YOUR_DATA}"
    name, network, artifact = printable(shlex.quote(file)), model.spec, recipe.artifact
    parameters = sum(parameter.numel() for parameter in model.parameters())
    folded = ", BatchNorm folded" if model.fused else ""
    yield from comment(f"{network.name}, generation {network.generation}, {_class_names(model.names)}")
    yield from comment(f"{parameters:,} parameters{folded}; {path.name} has {megabytes(path.stat().st_size)} MB")
    yield "#"
    yield f"# What it would do:  compressor plan {name}"
    yield f"# To run it:         compressor apply {name}{data}"
    yield from comment(
        f"As written here the compressed file will have {size_bytes:,} bytes, {size_bytes / dense_bytes:.3f} times its "
        f"dense {artifact.dtype} size."
    )
    yield "#"
    yield "# For editors to complete and check keys: compressor schema > recipe.schema.json, and as the first line"
    yield "#   # yaml-language-server: $schema=recipe.schema.json"


def _class_names(names: Sequence[str]) -> str:
    """How many, and as many of them as a comment may hold."""
    known = f"{len(names)} {'class' if len(names) == 1 else 'classes'}"
    shown = textwrap.shorten(printable(", ".join(names)), _NAMES_WIDTH, placeholder=" ...")
    return f"{known}: {shown}"
