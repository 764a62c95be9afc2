"""Which convolutions a modifier's `targets`, `ignore` and `sparsity` mean; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from compressor.errors import Diagnostic, PlanError, did_you_mean
from compressor.recipe.nodes import Place
from compressor.recipe.schema import Modifier, Prune
from compressor.yolov5.convolutions import MODULE_TYPES, ROLES, Convolution

_SHOWN = 3  # names in a message


class Places(Protocol):
    """Who knows where a value of the recipe was written."""

    def place(self, *location: str | int) -> Place:
        """The place of the value at `location`, or of the nearest value around it."""

    def key_place(self, *location: str | int) -> Place:
        """The place of the key that `location` ends in."""


@dataclass(frozen=True)
class Group:
    """Convolutions that share one sparsity; None where the pattern says how many weights go."""

    convolutions: tuple[Convolution, ...]
    sparsity: float | None


def targeted(convolutions: Sequence[Convolution], modifier: Modifier, index: int, places: Places) -> tuple[Group, ...]:
    """The convolutions that modifier `index` of a recipe touches, by sparsity, each in model order.

    Raises:
        PlanError: P201 an entry matches no layer; P202 a layer cannot hold the pattern; P203 everything targeted is
            ignored as well; P204 no weight would go, or every one; P206 a targeted layer no key of `sparsity` covers;
            P207 an entry without effect.
    """
    faults: list[Diagnostic] = []
    groups = _Fit(convolutions, index, places, faults).groups(modifier)
    if faults:
        raise PlanError(*faults)
    return groups


def misfits(convolutions: Sequence[Convolution], modifier: Modifier, index: int, places: Places) -> list[Diagnostic]:
    """What `targeted` would raise, as a list."""
    faults: list[Diagnostic] = []
    _Fit(convolutions, index, places, faults).groups(modifier)
    return faults


def sparsity_groups(convolutions: Sequence[Convolution], modifier: Prune) -> tuple[Group, ...]:
    """Targeted convolutions by the sparsity that counts for them; those no key of `sparsity` matches are left out."""
    if not isinstance(modifier.sparsity, dict):
        return (Group(tuple(convolutions), modifier.sparsity),)
    owners = {c.name: _last_match(modifier.sparsity, c) for c in convolutions}
    groups = (
        Group(tuple(c for c in convolutions if owners[c.name] == key), sparsity)
        for key, sparsity in modifier.sparsity.items()
    )
    return tuple(group for group in groups if group.convolutions)


def matches(entry: str, convolution: Convolution) -> bool:
    """Whether one entry means the convolution: a role, a module type, a kernel, `re:` and a pattern, or a glob."""
    if entry in ROLES:
        return convolution.role == entry
    if entry in MODULE_TYPES:
        return entry in convolution.types
    if entry.startswith("kernel: "):
        return convolution.kernel == entry.removeprefix("kernel: ")
    if entry.startswith("re:"):
        return re.fullmatch(entry.removeprefix("re:"), convolution.name) is not None
    return fnmatchcase(convolution.name, entry)


def near_entry(entry: str, convolutions: Sequence[Convolution]) -> str:
    """Help for an entry that matches nothing."""
    kernels = [f"kernel: {kernel}" for kernel in dict.fromkeys(c.kernel for c in convolutions)]
    if entry.startswith("kernel: "):
        return f"the model's kernels: {', '.join(kernel.removeprefix('kernel: ') for kernel in kernels)}"
    types = [kind for kind in MODULE_TYPES if any(kind in c.types for c in convolutions)]
    known = [*ROLES, *types, *kernels, *(c.name for c in convolutions)]
    return did_you_mean(entry, known) or "layers are named like model.2.cv1.conv; * matches any text"


class _Fit:
    """One modifier on one model; what does not fit is appended to `faults`."""

    def __init__(
        self, convolutions: Sequence[Convolution], index: int, places: Places, faults: list[Diagnostic]
    ) -> None:
        self.convolutions = convolutions
        self.index = index
        self.places = places
        self.faults = faults

    def groups(self, modifier: Modifier) -> tuple[Group, ...]:
        before = len(self.faults)
        chosen = {c.name for c in self._matched(modifier.targets, "targets", told=_keys(modifier))}
        left = self._without_ignored(modifier, chosen)
        if len(self.faults) > before:
            self._sparsities(modifier, left)
            return ()
        if not left:
            message = f"modifiers[{self.index}] touches no layer: everything targeted is ignored as well"
            self._fault("P203", message, "take an entry out of `ignore`", "ignore")
            return ()
        groups = self._sparsities(modifier, left)
        self._pattern(modifier, left)
        for group in groups:
            self._count(modifier, group)
        return groups

    def _matched(self, entries: Iterable[str], key: str, told: frozenset[str] = frozenset()) -> list[Convolution]:
        """What any entry matches; an entry that matches nothing is at fault, unless another key has `told` it."""
        found: list[Convolution] = []
        for position, entry in enumerate(entries):
            matched = [c for c in self.convolutions if matches(entry, c)]
            if not matched and entry not in told:
                message = f"{entry!r} matches no layer of the model"
                self._fault("P201", message, near_entry(entry, self.convolutions), key, position)
            found += matched
        return found

    def _without_ignored(self, modifier: Modifier, chosen: set[str]) -> list[Convolution]:
        ignored = {c.name for c in self._matched(modifier.ignore, "ignore")}
        for position, entry in enumerate(modifier.ignore):
            matched = {c.name for c in self.convolutions if matches(entry, c)}
            if matched and chosen and not matched & chosen:
                message = f"{entry!r} leaves nothing out: none of its layers is targeted"
                self._fault("P207", message, "take it out, or target its layers", "ignore", position)
        return [c for c in self.convolutions if c.name in chosen - ignored]

    def _sparsities(self, modifier: Prune, left: list[Convolution]) -> tuple[Group, ...]:
        groups = sparsity_groups(left, modifier)
        if not isinstance(modifier.sparsity, dict):
            return groups
        effective = {_last_match(modifier.sparsity, c) for c in left}
        for key in modifier.sparsity:
            if not any(matches(key, c) for c in self.convolutions):
                message = f"{key!r} matches no layer of the model"
                self._fault("P201", message, near_entry(key, self.convolutions), "sparsity", key)
            elif left and key not in effective:
                message = f"the sparsity of {key!r} counts for no layer: none it matches is targeted and left to it"
                self._fault("P207", message, "of several keys that match a layer the last one counts", "sparsity", key)
        bare = [c for c in left if _last_match(modifier.sparsity, c) is None]
        if bare:
            message = f"no key of sparsity covers {_some(bare)}"
            self._fault("P206", message, "add a key for them, such as `detect`, or ignore them", "sparsity")
        return groups

    def _pattern(self, modifier: Prune, left: list[Convolution]) -> None:
        if modifier.n_of_m is None:
            return
        small = [c for c in left if c.shape[1] < modifier.n_of_m[1]]
        if small:
            channels = " and ".join(str(count) for count in sorted({c.shape[1] for c in small}))
            message = f"{modifier.pattern} needs {modifier.n_of_m[1]} input channels, {_some(small)} has {channels}"
            roles = {c.role for c in small}
            entry = "stem" if roles == {"stem"} else small[0].name
            self._fault("P202", message, f"leave out what cannot hold it: ignore: [{entry}]", "pattern")

    def _count(self, modifier: Prune, group: Group) -> None:
        """Refuse a sparsity so small or large that rounding makes it none or all."""
        if group.sparsity is None:
            return
        total = sum(c.weights for c in group.convolutions)
        each = [c.weights for c in group.convolutions] if modifier.allocation == "uniform" else [total]
        lost = sum(round(group.sparsity * weights) for weights in each)
        if lost in (0, total):
            which = "no weight" if lost == 0 else "every weight"
            message = f"sparsity {group.sparsity:g} of {total:,} targeted weights takes {which}"
            help_text = "choose a sparsity further from 0 and 1, or other targets"
            self._fault("P204", message, help_text, "sparsity")

    def _fault(self, code: str, message: str, help_text: str, *key: str | int) -> None:
        is_sparsity_key = len(key) == 2 and key[0] == "sparsity"
        find = self.places.key_place if is_sparsity_key else self.places.place
        place = find("modifiers", self.index, *key)
        self.faults.append(place.diagnostic(code, message, help_text))


def _keys(modifier: Prune) -> frozenset[str]:
    return frozenset(modifier.sparsity) if isinstance(modifier.sparsity, dict) else frozenset()


def _last_match(keys: Iterable[str], convolution: Convolution) -> str | None:
    """The key whose sparsity counts: the last that matches."""
    return next((key for key in reversed(list(keys)) if matches(key, convolution)), None)


def _some(convolutions: Sequence[Convolution]) -> str:
    names = ", ".join(c.name for c in convolutions[:_SHOWN])
    more = len(convolutions) - _SHOWN
    return f"{names} and {more} more" if more > 0 else names
