"""Which convolutions the entries of a step mean, and what is wrong with these entries; needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, assert_never

from compressor.errors import Diagnostic, did_you_mean
from compressor.models.convolution import Convolution
from compressor.recipe.modifiers.step import Selection
from compressor.recipe.nodes import Place
from compressor.recipe.targets import (
    MODULE_TYPES,
    ROLES,
    GlobEntry,
    KernelEntry,
    RegexEntry,
    RoleEntry,
    TypeEntry,
    parse_entry,
)

_SHOWN = 3  # names in a message
_LONGEST_MATCH_S = 0.1  # of a regular expression with one name; a sound one takes microseconds


class Places(Protocol):
    """Who knows where a value of the recipe was written."""

    def place(self, *location: str | int) -> Place:
        """The place of the value at `location`, or of the nearest value around it."""

    def key_place(self, *location: str | int) -> Place:
        """The place of the key that `location` ends in."""


@dataclass(frozen=True)
class Spot:
    """Where one modifier of a recipe is written.

    Attributes:
        places: of the recipe.
        index: of the modifier.
    """

    places: Places
    index: int

    def error(self, code: str, message: str, help_text: str | None, *key: str | int) -> Diagnostic:
        """An error at the value of a key of the modifier, or at the modifier itself."""
        return self.places.place("modifiers", self.index, *key).diagnostic(code, message, help_text)

    def place(self, *key: str | int) -> Place:
        """Of the value of a key."""
        return self.places.place("modifiers", self.index, *key)

    def key_place(self, *key: str | int) -> Place:
        """Of a key itself."""
        return self.places.key_place("modifiers", self.index, *key)

    def __str__(self) -> str:
        """As messages name it: modifiers[0]."""
        return f"modifiers[{self.index}]"


@dataclass(frozen=True)
class Selected:
    """The convolutions that a step touches, and what is wrong with the entries that name them.

    Attributes:
        convolutions: in the order of the model; empty where an error leaves open which they are.
        errors: P201 an entry matches no layer; P203 everything targeted is ignored as well; P206 a targeted layer that
            no key of a mapping covers; P207 an entry without effect; R115 a regular expression that finds no end.
    """

    convolutions: tuple[Convolution, ...]
    errors: tuple[Diagnostic, ...] = ()


def select(convolutions: Sequence[Convolution], selection: Selection, spot: Spot, *, suggest: bool = True) -> Selected:
    """The convolutions that a step touches; looking for the nearest names to `suggest` is most of the work."""
    try:
        return _Entries(convolutions, selection, spot, suggest=suggest).selected()
    except TimeoutError:
        return Selected((), (endless(spot.place()),))


def last_match(keys: Iterable[str], convolution: Convolution) -> str | None:
    """The key of a mapping whose value counts for a convolution: the last that matches; None where none does."""
    return next((key for key in reversed(list(keys)) if matches(key, convolution)), None)


def some(names: Sequence[str]) -> str:
    """A few of many names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def matches(entry: str, convolution: Convolution) -> bool:
    """Whether one entry, as `targets` holds them, means the convolution.

    Raises:
        TimeoutError: a regular expression finds no end.
    """
    parsed = parse_entry(entry)
    match parsed:
        case RoleEntry(role):
            return convolution.role == role
        case TypeEntry(kind):
            return kind in convolution.types
        case KernelEntry(kernel):
            return convolution.kernel == kernel
        case RegexEntry(pattern):
            return pattern.fullmatch(convolution.name, timeout=_LONGEST_MATCH_S) is not None
        case GlobEntry(glob):
            return fnmatchcase(convolution.name, glob)
        case _:
            assert_never(parsed)


def unmatched(entry: str, convolutions: Sequence[Convolution], place: Place, *, suggest: bool = True) -> Diagnostic:
    """The fault of an entry that matches none of the convolutions (P201)."""
    help_text = _near(entry, convolutions) if suggest else None
    return place.diagnostic("P201", f"{entry!r} matches no layer of the model", help_text)


def endless(place: Place) -> Diagnostic:
    """The fault of a regular expression that finds no end (R115)."""
    help_text = "write a pattern without repetitions inside repetitions, or a glob"
    return place.diagnostic("R115", "an re: entry takes too long to match", help_text)


def _near(entry: str, convolutions: Sequence[Convolution]) -> str:
    """What may have been meant."""
    kernels = list(dict.fromkeys(c.kernel for c in convolutions))
    if isinstance(parse_entry(entry), KernelEntry):
        return f"the model's kernels: {', '.join(kernels)}"
    if any(c.name.startswith(f"{entry}.") for c in convolutions):
        return f"did you mean '{entry}.*'?"
    words = [*ROLES, *(kind for kind in MODULE_TYPES if any(kind in c.types for c in convolutions))]
    same = next((word for word in words if word.lower() == entry.lower()), None)
    if same is not None:
        return f"did you mean {same!r}?"
    known = [*words, *(f"kernel: {kernel}" for kernel in kernels), *(c.name for c in convolutions)]
    return did_you_mean(entry, known) or "layers are named like model.2.cv1.conv; * matches any text"


class _Entries:
    """The entries of one step on one network."""

    def __init__(self, known: Sequence[Convolution], selection: Selection, spot: Spot, *, suggest: bool) -> None:
        self.known = known
        self.selection = selection
        self.spot = spot
        self.suggest = suggest

    def selected(self) -> Selected:
        targets, ignore, keys = self.selection.targets, self.selection.ignore, self.selection.keys
        errors = [
            *self._unmatched(targets, "targets", elsewhere=frozenset(keys)),
            *self._unmatched(ignore, "ignore"),
            *self._unmatched_keys(keys),
        ]
        chosen = self._named(targets)
        left = tuple(c for c in self.known if c.name in chosen - self._named(ignore))
        if errors:  # what follows from them is not reported
            return Selected((), tuple(errors))
        if not left:
            message = f"{self.spot} touches no layer: everything targeted is ignored as well"
            return Selected((), (self.spot.error("P203", message, "take an entry out of `ignore`", "ignore"),))
        return Selected(left, (*self._needless_ignores(ignore, chosen), *self._needless_keys(keys, left)))

    def _named(self, entries: Iterable[str]) -> set[str]:
        entries = tuple(entries)
        return {c.name for c in self.known if any(matches(entry, c) for entry in entries)}

    def _unmatched(
        self, entries: Sequence[str], key: str, elsewhere: frozenset[str] = frozenset()
    ) -> Iterator[Diagnostic]:
        """Entries that match nothing, but for those that are reported `elsewhere`, and those that add nothing."""
        for position, entry in enumerate(entries):
            place = self.spot.place(key, position)
            matched = self._named([entry])
            if not matched and entry not in elsewhere:
                yield unmatched(entry, self.known, place, suggest=self.suggest)
            elif entry not in elsewhere and matched <= self._named(entries[:position]):
                message = f"{entry!r} adds nothing: the entries before it name all of its layers"
                yield place.diagnostic("P207", message, "take it out")

    def _unmatched_keys(self, keys: Iterable[str]) -> Iterator[Diagnostic]:
        for key in keys:
            if not self._named([key]):
                place = self.spot.key_place(self.selection.mapping, key)
                yield unmatched(key, self.known, place, suggest=self.suggest)

    def _needless_ignores(self, ignore: Sequence[str], chosen: set[str]) -> Iterator[Diagnostic]:
        for position, entry in enumerate(ignore):
            if not self._named([entry]) & chosen:
                message = f"{entry!r} leaves nothing out: none of its layers is targeted"
                yield self.spot.error("P207", message, "take it out, or target its layers", "ignore", position)

    def _needless_keys(self, keys: Sequence[str], left: Sequence[Convolution]) -> Iterator[Diagnostic]:
        """Of a mapping, keys whose value counts for no layer, and layers that no key covers."""
        if not keys:
            return
        mapping = self.selection.mapping
        effective = {c.name: last_match(keys, c) for c in left}
        for key in keys:
            if key not in effective.values():
                message = f"the {mapping} of {key!r} counts for no layer: none it matches is targeted and left to it"
                help_text = "of several keys that match a layer the last one counts"
                yield self.spot.key_place(mapping, key).diagnostic("P207", message, help_text)
        bare = [c for c in left if effective[c.name] is None]
        if bare:
            message = f"no key of {mapping} covers {some([c.name for c in bare])}"
            yield self.spot.error("P206", message, "add a key for them, such as `detect`, or ignore them", mapping)
