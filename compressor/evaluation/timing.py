"""Any number of networks timed in turns, so that what the machine does meanwhile meets all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressor.evaluation.network import Network
from compressor.results.run import Timing

PAIRS, WARM_UP = 20, 3
_STEP_S, _LONGEST_REST_S, _IDLE = 0.002, 0.05, 0.25

Pass = Callable[[], object]


@dataclass(frozen=True)
class Laps:
    """What the passes of one network took.

    Attributes:
        wall_ms: of every turn, the time that passed.
        cpu_ms: likewise, the time that processors worked, all threads together.
    """

    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]


def rest() -> None:
    """Wait until the threads of the last pass are idle: those of most runtimes spin on for some milliseconds, in which
    they would take a processor from whoever comes next.
    """  # noqa: D205
    for _ in range(round(_LONGEST_REST_S / _STEP_S)):
        before = time.process_time()
        time.sleep(_STEP_S)
        if time.process_time() - before < _IDLE * _STEP_S:
            return


@dataclass(frozen=True)
class Clocks:
    """What time is taken by.

    Attributes:
        wall: seconds that passed.
        cpu: seconds that processors worked.
        rest: called before every pass.
    """

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    rest: Callable[[], None] = rest


_REAL = Clocks()


def take_turns(
    passes: Sequence[Pass],
    turns: int,
    warm_up: int,
    update: Callable[[int, int], None] = lambda _done, _total: None,
    clocks: Clocks = _REAL,
) -> tuple[Laps, ...]:
    """Time passes in turns: in every turn each comes once, and where in it changes from turn to turn.

    Args:
        passes: what to time; each returns when its work is done.
        turns: how often, timed.
        warm_up: how often before that.
        update: told how many passes are done, of how many.
        clocks: what time is taken by.

    Returns:
        For each of `passes` its laps, one per turn in their order.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in passes]
    for turn in range(warm_up + turns):
        for place, index in enumerate(order(len(passes), turn)):
            clocks.rest()
            began, worked = clocks.wall(), clocks.cpu()
            passes[index]()
            ended, work_ended = clocks.wall(), clocks.cpu()
            if turn >= warm_up:
                taken[index].append((round(1e3 * (ended - began), 4), round(1e3 * (work_ended - worked), 4)))
            update(turn * len(passes) + place + 1, (warm_up + turns) * len(passes))
    return tuple(Laps(tuple(wall for wall, _ in laps), tuple(cpu for _, cpu in laps)) for laps in taken)


def order(count: int, turn: int) -> list[int]:
    """Who comes when: every other turn is reversed, and every second one begins with the next.

    Over 2 * count turns each comes as often in every place, as often before as after every other, and as often twice on
    end.
    """
    first = turn // 2 % count
    forwards = [*range(first, count), *range(first)]
    return forwards[::-1] if turn % 2 else forwards


def one_pass(network: Network, images: Tensor) -> Pass:
    """Inference with decoding, to its end.

    Args:
        network: on any device.
        images: (B, 3, S, S) in [0, 1]; taken to the network's device and number type before anything is timed.
    """
    given = images.to(network.device, network.dtype)

    def run() -> None:
        with torch.inference_mode():
            network.predict(given)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)

    return run


def time_in_turns(before: Network, after: Network, image: Tensor) -> Timing:
    """Inference with decoding of one image, again and again by both in turns.

    Args:
        before: the model before the modifiers.
        after: the model after them, on the same device.
        image: (1, 3, S, S) in [0, 1], on the CPU.
    """
    old, new = take_turns([one_pass(network, image) for network in (before, after)], PAIRS, WARM_UP)
    return Timing(image.shape[3], old.wall_ms, new.wall_ms)
