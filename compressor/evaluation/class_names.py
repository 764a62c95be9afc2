"""Whether model and data have the same classes: figures compare class 0 with class 0, regardless of their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compressor.data.dataset import Dataset
from compressor.errors import DatasetError, Diagnostic
from compressor.results.class_name import plain

_MOST_SHOWN = 20  # names of a list
_LONGEST = 40  # letters of a name
_NO_NAME = re.compile(r"(class|cls|label|object|obj)?[ _-]?0*(?P<number>\d+)")


def check_classes(names: Sequence[str], dataset: Dataset, *, other_names: bool = False) -> tuple[str, ...]:
    """Refuse data whose classes are not the model's.

    Names may differ in upper and lower case, in blanks and in the Unicode form of accents. Names that only number the
    classes, which a file without names receives (`0`, `1`; `class0`, `class1`), match any name at the same number.

    Args:
        names: of the model's classes.
        dataset: the data.
        other_names: accept names that differ otherwise. Another order (the same class under another number) is never
            accepted.

    Returns:
        Warnings about differences that are accepted.

    Raises:
        DatasetError: D409 the number of classes differs, or their order, or their names.
    """
    theirs = dataset.names
    if len(names) != len(theirs):
        message = f"the model has {len(names)} classes ({_first(names)}), the data set {len(theirs)} ({_first(theirs)})"
        raise _refused(message, dataset, "name the data the model was trained on")
    differing = [
        index for index, pair in enumerate(zip(names, theirs, strict=True)) if plain(pair[0]) != plain(pair[1])
    ]
    if not differing:
        return ()
    moved = _moved(names, theirs, differing)
    if moved:
        message = f"the classes are in another order: {_both(names, theirs, moved)}"
        help_text = (
            "name the data the model was trained on; if only the YAML is wrong, write names: in the model's order"
        )
        raise _refused(message, dataset, help_text)
    for named, whose in ((names, "model"), (theirs, "data set")):
        if _only_numbers(named):
            return (f"the {whose} does not name its classes ({_first(named)}): they are taken by their number",)
    count = f"{len(differing)} of {len(names)} classes"
    if not other_names:
        message = f"{count} have other names: {_both(names, theirs, differing)}"
        help_text = (
            "name the data the model was trained on; or accept them: --other-names, evaluation.other_names: true"
        )
        raise _refused(message, dataset, help_text)
    return (f"{count} have other names, which was accepted: {_both(names, theirs, differing)}",)


def _refused(message: str, dataset: Dataset, help_text: str) -> DatasetError:
    return DatasetError(Diagnostic("D409", message, dataset.source, help=help_text))


def _moved(names: Sequence[str], theirs: Sequence[str], differing: Sequence[int]) -> list[int]:
    """The numbers of classes that the other side has under another number."""
    ours, others = set(map(plain, names)), set(map(plain, theirs))
    return [index for index in differing if plain(theirs[index]) in ours or plain(names[index]) in others]


def _only_numbers(names: Sequence[str]) -> bool:
    found = (_NO_NAME.fullmatch(name.strip().casefold()) for name in names)
    return all(match is not None and int(match["number"]) == index for index, match in enumerate(found))


def _both(names: Sequence[str], theirs: Sequence[str], differing: Sequence[int]) -> str:
    return f"the model has {_listed(names, differing)}; the data set has {_listed(theirs, differing)}"


def _listed(names: Sequence[str], differing: Sequence[int]) -> str:
    """All names if they are few, else those that differ, with their numbers."""
    if len(names) <= _MOST_SHOWN:
        return ", ".join(map(_short, names))
    shown = ", ".join(f"{index} {_short(names[index])}" for index in differing[:_MOST_SHOWN])
    more = len(differing) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _first(names: Sequence[str]) -> str:
    more = f", ... {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(_short, names[:5])) + more


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
