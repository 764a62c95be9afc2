"""Which convolutions a modifier's `targets`, `ignore` and `sparsity` mean; needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, assert_never

from compressor.errors import Diagnostic, PlanError, did_you_mean
from compressor.models.convolution import Convolution
from compressor.recipe.modifiers import Budget, Modifier, Prune, Repair
from compressor.recipe.nodes import Place, show
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
class Group:
    """Convolutions that share one sparsity; None where a pattern or a budget says how many weights go."""

    convolutions: tuple[Convolution, ...]
    sparsity: float | None


def targeted(convolutions: Sequence[Convolution], modifier: Modifier, index: int, places: Places) -> tuple[Group, ...]:
    """The convolutions that modifier `index` of a recipe touches, by sparsity, each in model order.

    Raises:
        PlanError: P201 an entry matches no layer; P202 a layer cannot hold the pattern; P203 everything targeted is
            ignored as well; P204 no weight would go, or every one; P206 a targeted layer no key of `sparsity` covers;
            P207 an entry without effect.
    """
    fit = _Fit(convolutions, index, places, suggest=True)
    groups = fit.groups(modifier)
    if fit.faults:
        raise PlanError(*fit.faults)
    return groups


def misfits(
    convolutions: Sequence[Convolution], modifier: Modifier, index: int, places: Places, *, suggest: bool = True
) -> list[Diagnostic]:
    """What `targeted` would raise, as a list; looking for the nearest names to `suggest` is most of the work."""
    fit = _Fit(convolutions, index, places, suggest=suggest)
    fit.groups(modifier)
    return fit.faults


def sparsity_groups(convolutions: Sequence[Convolution], modifier: Prune) -> tuple[Group, ...]:
    """Targeted convolutions by the sparsity that counts for them; those no key of `sparsity` matches are left out."""
    if not isinstance(modifier.sparsity, dict):
        sparsity = None if isinstance(modifier.sparsity, Budget) else modifier.sparsity
        return (Group(tuple(convolutions), sparsity),)
    owners = {c.name: _last_match(modifier.sparsity, c) for c in convolutions}
    groups = (
        Group(tuple(c for c in convolutions if owners[c.name] == key), sparsity)
        for key, sparsity in modifier.sparsity.items()
    )
    return tuple(group for group in groups if group.convolutions)


def exact_count(sparsity: float, weights: int) -> int:
    """round(sparsity x weights), half to even as Python and upstream round: how many weights go."""
    return round(sparsity * weights)


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


class _Fit:
    """One modifier on one model, and what does not fit."""

    def __init__(self, convolutions: Sequence[Convolution], index: int, places: Places, *, suggest: bool) -> None:
        self.convolutions = convolutions
        self.index = index
        self.places = places
        self.suggest = suggest
        self.faults: list[Diagnostic] = []

    def groups(self, modifier: Modifier) -> tuple[Group, ...]:
        try:
            return self._groups(modifier)
        except TimeoutError:
            self.faults = [endless(self.places.place("modifiers", self.index))]
            return ()

    def _groups(self, modifier: Modifier) -> tuple[Group, ...]:
        sparsity = modifier.sparsity if isinstance(modifier, Prune) else None
        keys = sparsity if isinstance(sparsity, dict) else {}
        self._unmatched(modifier.targets, "targets", told=frozenset(keys))
        self._unmatched(modifier.ignore, "ignore")
        self._unmatched_keys(keys)
        chosen = self._named(modifier.targets)
        left = [c for c in self.convolutions if c.name in chosen - self._named(modifier.ignore)]
        if self.faults:  # what follows from them is not told
            return ()
        if not left:
            message = f"modifiers[{self.index}] touches no layer: everything targeted is ignored as well"
            self._fault("P203", message, "take an entry out of `ignore`", "ignore")
            return ()
        self._ignore_matters(modifier, chosen)
        if isinstance(modifier, Repair):
            return (Group(tuple(left), None),)
        self._keys_matter(keys, left)
        self._pattern(modifier, left)
        groups = sparsity_groups(left, modifier)
        for group in groups:
            self._count(modifier, group)
        return groups

    def _named(self, entries: Iterable[str]) -> set[str]:
        entries = tuple(entries)
        return {c.name for c in self.convolutions if any(matches(entry, c) for entry in entries)}

    def _unmatched(self, entries: Sequence[str], key: str, told: frozenset[str] = frozenset()) -> None:
        """Entries that match nothing, but for those another key has `told`, and those that add nothing."""
        for position, entry in enumerate(entries):
            place = self.places.place("modifiers", self.index, key, position)
            matched = self._named([entry])
            if not matched and entry not in told:
                self.faults.append(unmatched(entry, self.convolutions, place, suggest=self.suggest))
            elif entry not in told and matched <= self._named(entries[:position]):
                message = f"{entry!r} adds nothing: the entries before it name all of its layers"
                self.faults.append(place.diagnostic("P207", message, "take it out"))

    def _unmatched_keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            if not self._named([key]):
                place = self.places.key_place("modifiers", self.index, "sparsity", key)
                self.faults.append(unmatched(key, self.convolutions, place, suggest=self.suggest))

    def _ignore_matters(self, modifier: Modifier, chosen: set[str]) -> None:
        for position, entry in enumerate(modifier.ignore):
            if not self._named([entry]) & chosen:
                message = f"{entry!r} leaves nothing out: none of its layers is targeted"
                self._fault("P207", message, "take it out, or target its layers", "ignore", position)

    def _keys_matter(self, keys: Mapping[str, float], left: list[Convolution]) -> None:
        """Every key of `sparsity` counts for some layer, and every layer is covered by one."""
        if not keys:
            return
        effective = {c.name: _last_match(keys, c) for c in left}
        for key in keys:
            if key not in effective.values():
                message = f"the sparsity of {key!r} counts for no layer: none it matches is targeted and left to it"
                place = self.places.key_place("modifiers", self.index, "sparsity", key)
                help_text = "of several keys that match a layer the last one counts"
                self.faults.append(place.diagnostic("P207", message, help_text))
        bare = [c for c in left if effective[c.name] is None]
        if bare:
            message = f"no key of sparsity covers {_some([c.name for c in bare])}"
            self._fault("P206", message, "add a key for them, such as `detect`, or ignore them", "sparsity")

    def _pattern(self, modifier: Prune, left: list[Convolution]) -> None:
        if modifier.n_of_m is None:
            return
        small = [c for c in left if c.shape[1] < modifier.n_of_m[1]]
        if small:
            counts = _some([f"{c.name} has {c.shape[1]}" for c in small])
            message = f"{modifier.pattern} needs {modifier.n_of_m[1]} input channels: {counts}"
            entry = "stem" if {c.role for c in small} == {"stem"} else small[0].name
            self._fault("P202", message, f"leave out what cannot hold it: ignore: [{entry}]", "pattern")

    def _count(self, modifier: Prune, group: Group) -> None:
        """Refuse a sparsity so small or large that rounding makes it none or all."""
        if group.sparsity is None:
            return
        total = sum(c.weights for c in group.convolutions)
        each = [c.weights for c in group.convolutions] if modifier.allocation == "uniform" else [total]
        lost = sum(exact_count(group.sparsity, weights) for weights in each)
        if lost in (0, total):
            which = "no weight" if lost == 0 else "every weight"
            message = f"sparsity {show(group.sparsity)} of {total:,} targeted weights takes {which}"
            help_text = "choose a sparsity further from 0 and 1, or other targets"
            self._fault("P204", message, help_text, "sparsity")

    def _fault(self, code: str, message: str, help_text: str, *key: str | int) -> None:
        place = self.places.place("modifiers", self.index, *key)
        self.faults.append(place.diagnostic(code, message, help_text))


def _last_match(keys: Iterable[str], convolution: Convolution) -> str | None:
    """The key whose sparsity counts: the last that matches."""
    return next((key for key in reversed(list(keys)) if matches(key, convolution)), None)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
