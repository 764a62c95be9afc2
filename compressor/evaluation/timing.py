"""Any number of networks timed in turns, so that other load on the machine slows all of them equally."""

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
    """The times of the passes of one network.

    Attributes:
        wall_ms: elapsed time of every turn.
        cpu_ms: CPU time of every turn, summed over all threads.
    """

    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]


def rest() -> None:
    """Wait until the threads of the last pass are idle.

    Most runtimes keep their threads spinning for some milliseconds, which would take a processor from the next pass.
    """
    for _ in range(round(_LONGEST_REST_S / _STEP_S)):
        before = time.process_time()
        time.sleep(_STEP_S)
        if time.process_time() - before < _IDLE * _STEP_S:
            return


@dataclass(frozen=True)
class Clocks:
    """The clocks that passes are timed with.

    Attributes:
        wall: elapsed seconds.
        cpu: seconds of CPU time.
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
    """Time passes in turns: every turn runs each of them once, in an order that changes from turn to turn.

    Args:
        passes: functions to time; each returns when its work is done.
        turns: number of timed turns.
        warm_up: number of turns before them that are not timed.
        update: receives the number of passes done and of all passes.
        clocks: the clocks to use.

    Returns:
        The times of each of `passes`, one per turn in the order of the turns.
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
    """The order of passes in a turn: every other turn is reversed, and every two turns begin with the next pass.

    Over 2 * count turns each pass stands equally often in every position, equally often before and after every other
    pass, and equally often twice in a row.
    """
    first = turn // 2 % count
    forwards = [*range(first, count), *range(first)]
    return forwards[::-1] if turn % 2 else forwards


def one_pass(network: Network, images: Tensor) -> Pass:
    """A function that runs inference with decoding and waits for its end.

    Args:
        network: on any device.
        images: (B, 3, S, S) in [0, 1]; moved to the network's device and number type before anything is timed.
    """
    given = images.to(network.device, network.dtype)

    def run() -> None:
        with torch.inference_mode():
            network.predict(given)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)

    return run


def time_in_turns(before: Network, after: Network, image: Tensor) -> Timing:
    """Times of inference with decoding of one image, by both models in turns.

    Args:
        before: the model before the modifiers.
        after: the model after them, on the same device.
        image: (1, 3, S, S) in [0, 1], on the CPU.
    """
    old, new = take_turns([one_pass(network, image) for network in (before, after)], PAIRS, WARM_UP)
    return Timing(image.shape[3], old.wall_ms, new.wall_ms)
