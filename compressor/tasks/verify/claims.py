"""What a verification found: claims that hold or do not, and what nothing at hand can show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One claim.

    Attributes:
        claim: what should hold, as a sentence.
        differences: where it does not; empty where it holds.
    """

    claim: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trusted:
    """What a record says, and nothing at hand can show to be true or not.

    Attributes:
        keys: of run.json, such as `compressed.speed`, with all below them; `*` stands for every entry of a list.
        reason: why they were not worked out.
    """

    keys: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Verification:
    """All that was found of an artifact or a run.

    Attributes:
        checks: every claim that was worked out.
        trusted: what was not.
        not_recorded: keys of run.json that the version which made the run did not write, or that hold nothing.
        absent: files that run.json names and a report without its run leaves out.
    """

    checks: tuple[Check, ...]
    trusted: tuple[Trusted, ...] = ()
    not_recorded: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether every claim holds that was worked out."""
        return not self.counts["differ"]

    @property
    def counts(self) -> dict[str, int]:
        """How many claims hold and how many differ, and how many entries there are of what was not worked out."""
        differ = sum(bool(check.differences) for check in self.checks)
        return {
            "hold": len(self.checks) - differ,
            "differ": differ,
            "on_trust": len(self.trusted),
            "not_recorded": len(self.not_recorded),
            "absent": len(self.absent),
        }
