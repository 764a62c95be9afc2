from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.timing import PAIRS, Clocks, Pass, one_pass, order, rest, take_turns, time_in_turns
from compressor.report.intervals import slowdown
from compressor.results.run import Timing
from trials.tiny import tiny_model


def test_both_are_timed_as_often_and_a_network_that_does_it_twice_is_slower() -> None:
    network = inference_network(tiny_model(), torch.device("cpu"))
    given = []

    def twice(images: torch.Tensor) -> torch.Tensor:
        given.append(images)
        network.predict(images)
        network.predict(images)
        return network.predict(images)

    slow = type(network)(network.names, network.strides, twice, network.device)
    taken = time_in_turns(network, slow, torch.rand(1, 3, 64, 64))
    assert (taken.image_size, len(taken.before_ms), len(taken.after_ms)) == (64, PAIRS, PAIRS)
    assert all(images.shape == (1, 3, 64, 64) for images in given)
    found = slowdown(taken)
    assert found is not None
    assert found[1].low > 1.3


class Machine:
    """A machine with a clock of its own, on which work takes the time it is given, and longer when it is busy."""

    def __init__(self, *, busy: Callable[[float], float] = lambda _now: 1.0) -> None:
        self.now, self.worked, self.rests = 0.0, 0.0, 0
        self.busy = busy
        self.began: list[tuple[float, str]] = []

    def work(self, name: str, milliseconds: list[float]) -> Pass:
        left = iter(milliseconds)

        def run() -> None:
            self.began.append((self.now, name))
            seconds = next(left) / 1e3
            self.now += seconds * self.busy(self.now)
            self.worked += 2 * seconds

        return run

    def rest(self) -> None:
        self.rests += 1
        self.now += 0.5
        self.worked += 0.5

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now, lambda: self.worked, self.rest)


def test_every_pass_is_timed_but_for_those_that_warm_up_and_the_rests() -> None:
    machine = Machine()
    passes = [machine.work("a", [900.0, 1.0, 2.0, 3.0]), machine.work("b", [900.0, 10.0, 20.0, 30.0])]
    updates: list[tuple[int, int]] = []
    a, b = take_turns(passes, 3, 1, lambda done, total: updates.append((done, total)), machine.clocks())
    assert a.wall_ms == pytest.approx((1.0, 2.0, 3.0))
    assert b.wall_ms == pytest.approx((10.0, 20.0, 30.0))
    assert b.cpu_ms == pytest.approx((20.0, 40.0, 60.0))
    assert machine.rests == 8
    assert updates == [(done, 8) for done in range(1, 9)]


def test_other_load_on_the_machine_slows_all_equally() -> None:
    machine = Machine(busy=lambda now: 5.0 if 4.0 < now < 9.0 else 1.0)
    passes = [machine.work("a", [100.0] * 30), machine.work("b", [200.0] * 30)]
    a, b = take_turns(passes, 30, 0, clocks=machine.clocks())
    assert max(a.wall_ms) == pytest.approx(500.0)
    found = slowdown(Timing(640, a.wall_ms, b.wall_ms))
    assert found is not None
    assert (found[0], found[1].low, found[1].high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_nobody_has_the_better_place(count: int) -> None:
    turns = [order(count, turn) for turn in range(2 * count)]
    assert all(sorted(turn) == list(range(count)) for turn in turns)
    for one in range(count):
        assert sorted(turn.index(one) for turn in turns) == sorted([*range(count)] * 2)
        for other in set(range(count)) - {one}:
            assert sum(turn.index(one) < turn.index(other) for turn in turns) == count
    following = [*turns[1:], order(count, 2 * count)]
    twice = [turn[-1] for turn, later in zip(turns, following, strict=True) if turn[-1] == later[0]]
    assert set(twice) == set(range(count))
    assert len({twice.count(one) for one in twice}) == 1


def test_rest_ends_when_threads_are_idle_or_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    for spinning, expected in ((3, 4), (10_000, 25)):
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        monkeypatch.setattr(time, "process_time", lambda slept=slept, most=spinning: 0.002 * min(len(slept), most))
        rest()
        assert len(slept) == expected


def test_a_pass_gets_the_images_in_the_type_of_the_network_and_keeps_no_gradients() -> None:
    given: list[torch.Tensor] = []

    def predict(images: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        given.append(images)
        return images

    one_pass(Network(("a",), (8,), predict, torch.device("cpu"), torch.float64), torch.rand(2, 3, 8, 8))()
    assert (given[0].dtype, given[0].shape) == (torch.float64, (2, 3, 8, 8))
