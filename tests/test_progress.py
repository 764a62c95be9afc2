"""Where the time went: a ledger with clocks that the test turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compressor.progress import Ledger, Silent


class Clocks:
    """Two clocks; the second runs twice as fast, as two threads at work make it."""

    def __init__(self) -> None:
        self.now = 100.0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def wall(self) -> float:
        return self.now

    def cpu(self) -> float:
        return 2 * self.now


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def ledger(clocks: Clocks) -> Ledger:
    return Ledger(Silent(), clocks.wall, clocks.cpu)


def seconds(ledger: Ledger) -> list[tuple[str, float]]:
    told = ledger.spent()
    assert all(cpu == pytest.approx(2 * wall) for _, wall, cpu in told)
    return [(title, round(wall, 9)) for title, wall, _ in told]


def test_times_of_one_title_are_summed_and_all_that_passed_is_told(ledger: Ledger, clocks: Clocks) -> None:
    clocks.wait(0.5)
    for took in (1.0, 2.0):
        with ledger.step("judge"):
            clocks.wait(took)
        with ledger.bar("read", "images") as update:
            clocks.wait(0.25)
            update(1, 1)
    clocks.wait(0.125)
    assert seconds(ledger) == [("judge", 3.0), ("read", 0.5), ("", 0.625)]
    clocks.wait(1.0)
    assert seconds(ledger)[-1] == ("", 1.625)


def test_a_step_within_another_counts_once(ledger: Ledger, clocks: Clocks) -> None:
    with ledger.step("load"):
        clocks.wait(1.0)
        with ledger.bar("find", "B"):
            clocks.wait(4.0)
        clocks.wait(0.5)
    assert seconds(ledger) == [("load", 1.5), ("find", 4.0), ("", 0.0)]


def test_a_step_that_fails_is_counted_and_closed(ledger: Ledger, clocks: Clocks) -> None:
    def fail() -> None:
        with ledger.step("work"):
            clocks.wait(1.0)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    clocks.wait(2.0)
    assert seconds(ledger) == [("work", 1.0), ("", 2.0)]


def test_the_listener_hears_everything() -> None:
    heard: list[str] = []

    class Listener(Silent):
        def section(self, title: str) -> None:
            heard.append(f"section {title}")

        def note(self, text: str) -> None:
            heard.append(f"note {text}")

        def __getattribute__(self, name: str) -> Callable[..., object]:
            heard.append(name)
            found: Callable[..., object] = super().__getattribute__(name)
            return found

    ledger = Ledger(Listener())
    ledger.section("a")
    ledger.note("b")
    with ledger.step("c"), ledger.bar("d", "e") as update:
        update(1, 2)
    assert heard == ["section", "section a", "note", "note b", "step", "bar"]
