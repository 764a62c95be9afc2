"""Which network's tensors a file holds, and how: decided here for saving, for sizes and for predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compressor.artifact.save import Form, round_to_dtype, unfolded_storage
from compressor.artifact.size import holds_exactly
from compressor.models.detector import Detector


@dataclass(frozen=True, eq=False)
class StoredForm:
    """What a file holds.

    Attributes:
        network: whose tensors: with separate BatchNorm where the reader folds it.
        form: number types, layout, and whether the reader folds.
    """

    network: Detector
    form: Form


def stored_form(model: Detector, source: Detector, form: Form, *, folded: bool, only_zeros: bool) -> StoredForm:
    """What a file of a finished model will hold.

    A model that differs from its source by zeros only is stored as the source with these zeros, to be folded by the
    reader, where the file's number type holds every number of the source: rounding then changes nothing, and folding is
    the same arithmetic.

    Args:
        model: finished.
        source: the model as it was loaded.
        form: as the recipe asks for it.
        folded: whether the run folds BatchNorm, before or after the modifiers.
        only_zeros: whether the modifiers alter nothing but zeros.
    """
    on_load = only_zeros and folded and not source.fused and holds_exactly(form.dtype, source)
    return StoredForm(source if on_load else model, replace(form, fold_on_load=on_load))


def ready_to_store(model: Detector, source: Detector, form: Form, *, only_zeros: bool) -> StoredForm:
    """The same with its tensors; where the file cannot hold the model as it is, the model is rounded in place.

    Raises:
        ArtifactError: A501 a value is too large for its number type.
    """
    planned = stored_form(model, source, form, folded=model.fused, only_zeros=only_zeros)
    exact = unfolded_storage(model, source, form.dtype) if planned.form.fold_on_load else None
    if exact is not None:
        return StoredForm(exact, planned.form)
    round_to_dtype(model, form.dtype, form.formats)
    return StoredForm(model, replace(form, fold_on_load=False))
