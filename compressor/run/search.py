"""What a recipe may lose, or how large its file may be, becomes a sparsity."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from compressor.artifact.save import Form, Layout
from compressor.artifact.stored_form import stored_form
from compressor.errors import InputError
from compressor.evaluation.evaluate import Evaluator
from compressor.modifiers.state import State
from compressor.plan.layers import convolutions
from compressor.progress import Progress
from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.sizes import parse_size
from compressor.results.evaluation import Evaluation
from compressor.results.run import Search, Try
from compressor.results.units import megabytes
from compressor.run.calibration import CalibrationImages
from compressor.run.forecast import forecast_size, only_zeros
from compressor.run.job import Job, modify, predict, storage, with_number

AP_STEPS = 100  # a budget of AP is searched by whole per cents ...
SIZE_STEPS = 1000  # ... and a size by tenths of a per cent ...
MOST = 0.99  # ... up to this sparsity


def lowest_step(fits: Callable[[int], bool], most: int) -> int:
    """The lowest of the steps 1 to `most` that fits, by bisection: whatever is above one that fits does so too.

    Args:
        fits: whether the file of a step is small enough; not called for `most`, which is known to fit.
        most: the last step.
    """
    return range(1, most + 1)[bisect_left(range(1, most), True, key=fits)]


def out_of_reach(limit: int, smallest: int, unpruned: int) -> str:
    """The message that no sparsity gives a file of a size; both ends of the range are rounded into it.

    Args:
        limit: bytes that were asked for.
        smallest: bytes at the highest sparsity.
        unpruned: bytes with nothing pruned, which is not in the range.
    """
    low, high = 1000 * math.ceil(smallest / 1000), 1000 * ((unpruned - 1) // 1000)
    message = f"a file of {megabytes(limit)} MB is out of reach: pruning this model gives "
    return message + f"{megabytes(low)} to {megabytes(high)} MB"


@dataclass(eq=False)
class Seeker:
    """Settles a budget by trying sparsities on the model itself; every try is kept.

    Attributes:
        job: its recipe asks for the budget.
        images: calibration images for the steps.
        device: where to compute.
        progress: told of every try.
        known: tries of an interrupted search of just this job: what they found is taken.
        keep: given all that is known after every try.
    """

    job: Job
    images: CalibrationImages
    device: torch.device
    progress: Progress
    tries: list[Try] = field(default_factory=list)
    known: tuple[Try, ...] = ()
    keep: Callable[[Sequence[Try]], None] = lambda _: None

    @property
    def asked(self) -> tuple[int, Budget]:
        """Which modifier asks, and for what."""
        steps = enumerate(self.job.recipe.modifiers)
        return next((index, step.goal[1]) for index, step in steps if step.goal is not None)

    def by_size(self) -> tuple[Job, Search]:
        """The job of the lowest sparsity whose file is small enough.

        Raises:
            InputError: U905 the file cannot be that small, or is so with nothing pruned.
        """
        index, budget = self.asked
        assert budget.size is not None
        kind, amount = parse_size(budget.size)
        dense = self._dense_size()
        limit = int(amount) if kind == "size_bytes" else int(amount * dense)
        most = int(MOST * SIZE_STEPS)

        def fits(step: int) -> bool:
            return self._size(step / SIZE_STEPS) <= limit

        smallest = self._size(most / SIZE_STEPS)
        if limit < smallest or limit >= dense:
            message = out_of_reach(limit, smallest, dense)
            place = self.job.recipe_file.place("modifiers", index, "sparsity")
            raise InputError(place.diagnostic("U905", message, "ask for a size between the two"))
        sparsity = lowest_step(fits, most) / SIZE_STEPS
        return self._settled(f"a file of at most {limit:,} bytes", None, sparsity)

    def by_ap(self, evaluator: Evaluator, baseline: float | None) -> tuple[Job, Search]:
        """The job of the highest sparsity that loses little enough AP: searched on a part, confirmed on all images.

        Args:
            evaluator: of the whole split.
            baseline: AP of the model before the modifiers on the whole split, None where it was not judged.

        Raises:
            InputError: U910 AP is undefined or 0 before, or no sparsity is low enough.
        """
        _, budget = self.asked
        assert budget.ap_drop is not None and budget.images is not None
        part = evaluator.part(budget.images)
        dense = self._ap(evaluator, None) if baseline is None else baseline
        if dense <= 0:
            message = "AP of the model before is 0: it finds nothing on these images, so nothing can be lost"
            raise self._refused(message, "name the data that the model was trained on")
        within = self._within(part, budget.ap_drop, dense if part is evaluator else self._ap(part, None))
        steps = range(1, int(MOST * AP_STEPS) + 1)
        best = bisect_left(steps, True, key=lambda step: not within(step / AP_STEPS))  # so many steps are within
        if part is not evaluator:
            confirmed = self._within(evaluator, budget.ap_drop, dense)
            above, stride = best + 1, 1
            while best > 0 and not confirmed(best / AP_STEPS):  # mostly near, so the strides begin small
                above, best, stride = best, max(0, best - stride), 2 * stride
            best = bisect_left(range(1, above), True, lo=best, key=lambda step: not confirmed(step / AP_STEPS))
        if best == 0:
            message = f"even {1 / AP_STEPS:g} of sparsity loses more than {budget.ap_drop:g} AP"
            raise self._refused(message, "allow more, or add a repair to the recipe")
        return self._settled(f"at most {budget.ap_drop:g} AP lost", dense, best / AP_STEPS)

    def _within(self, evaluator: Evaluator, drop: float, dense: float) -> Callable[[float], bool]:
        def within(sparsity: float) -> bool:
            return dense - self._ap(evaluator, sparsity) <= drop

        return within

    def _ap(self, evaluator: Evaluator, sparsity: float | None) -> float:
        """AP of the model as it would be saved at a sparsity; None judges it before the modifiers."""
        count = len(evaluator.split.samples)
        earlier = next((t for t in self.tries if (t.sparsity, t.images) == (sparsity, count)), None)
        if earlier is not None and earlier.AP is not None:
            return earlier.AP
        known = next((t for t in self.known if (t.sparsity, t.images) == (sparsity, count)), None)
        if known is not None and known.AP is not None:
            self.tries.append(known)
            return known.AP
        model = self.job.model
        if sparsity is not None:
            tried = with_number(self.job, self.asked[0], sparsity, final=False)
            modified = modify(tried, self.images, self.device, self.progress)
            storage(tried, modified)
            model = modified.state.model
        title = "evaluate dense" if sparsity is None else f"evaluate {100 * sparsity:g} %"
        evaluation, _ = evaluator.evaluate(model, self.progress, f"{title} on {count} images")
        found = evaluation.metrics.coco.AP
        if found is None:
            raise self._refused("AP is undefined on these images: they hold no objects", "name labelled images")
        self._add(Try(sparsity, AP=found, images=count))
        return found

    def _size(self, sparsity: float) -> int:
        """Exact bytes of the file at a sparsity, but for kept weights that are too small for its number type."""
        known = next((t for t in self.known if t.sparsity == sparsity), None)
        if known is not None and known.size_bytes is not None:
            self.tries.append(known)
            return known.size_bytes
        tried = with_number(self.job, self.asked[0], sparsity, final=False)
        found = file_bytes(tried, predict(tried, self.images, self.device, self.progress).state)
        self._add(Try(sparsity, size_bytes=found))
        return found

    def _add(self, tried: Try) -> None:
        self.tries.append(tried)
        self.keep((*(each for each in self.known if each not in self.tries), *self.tries))

    def _dense_size(self) -> int:
        """Bytes of the file with every weight stored."""
        job = with_number(self.job, self.asked[0], 0.5, final=False)
        return dense_bytes(job)

    def _settled(self, goal: str, dense: float | None, sparsity: float) -> tuple[Job, Search]:
        index = self.asked[0]
        self.progress.note(f"sparsity {sparsity:g}: {goal}")
        job = with_number(self.job, index, sparsity)
        return job, Search(index, goal, sparsity, baseline_AP=dense, tries=tuple(self.tries))

    def _refused(self, message: str, help_text: str) -> InputError:
        place = self.job.recipe_file.place("modifiers", self.asked[0], "sparsity")
        return InputError(place.diagnostic("U910", message, help_text))


def search(
    seeker: Seeker, budget: Budget, evaluator: Evaluator | None, baseline: Evaluation | None
) -> tuple[Job, Search]:
    """The job with a number in place of its goal, and how that was found.

    Args:
        seeker: of the job.
        budget: the goal.
        evaluator: of the whole split; a goal of AP needs one.
        baseline: the model before the modifiers, as far as it was evaluated.
    """
    if budget.size is not None:
        return seeker.by_size()
    assert evaluator is not None  # a goal of AP is refused where nothing is evaluated
    return seeker.by_ap(evaluator, baseline.metrics.coco.AP if baseline else None)


def file_bytes(job: Job, state: State) -> int:
    """Bytes of the file with the zeros that the state's model has now."""
    return _forecast(job, state, job.recipe.artifact.layout, {x.name: x.zeros for x in convolutions(state.model)})


def dense_bytes(job: Job) -> int:
    """Bytes of the file with every weight stored."""
    return _forecast(job, State(job.model, job.unfused), "dense", {})


def _forecast(job: Job, state: State, layout: Layout, zeros: Mapping[str, int]) -> int:
    recipe = job.recipe
    form = Form(recipe.artifact.dtype, layout, formats=state.formats)
    folded = state.model.fused or recipe.model.fuse != "never"
    stored = stored_form(state.model, job.unfused, form, folded=folded, only_zeros=only_zeros(recipe))
    return forecast_size(recipe, job.path.name, stored, zeros)
