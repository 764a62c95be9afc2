"""Which channels of a network stand or fall together, read from its convolutions; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compressor.models.convolution import Convolution


@dataclass(frozen=True)
class Reader:
    """Where channels are taken in.

    Attributes:
        name: of the convolution.
        first: the input channel at which they begin.
    """

    name: str
    first: int


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed from all of these convolutions at once.

    Attributes:
        width: how many channels.
        writers: the convolutions whose output channel k is channel k of the group, since their outputs are added.
        readers: what takes channel k as its input channel first + k; a convolution that takes them several times, such
            as behind poolings, stands there as often.
        fixed: none can be removed: they are outputs of the network, or a convolution of several channel groups gives or
            takes them, whose channels are tied in other ways.
    """

    width: int
    writers: tuple[str, ...]
    readers: tuple[Reader, ...]
    fixed: bool


def channel_groups(convolutions: Sequence[Convolution]) -> tuple[ChannelGroup, ...]:
    """The groups of a network's channels; every convolution is a writer in just one of them.

    Args:
        convolutions: all of a network, each behind those whose outputs it is added to.
    """
    known = {each.name: each for each in convolutions}
    first_writer: dict[str, str] = {}
    for each in _sources_first(convolutions):
        first_writer[each.name] = first_writer[each.added_to] if each.added_to else each.name
    writers: dict[str, list[str]] = {}
    for each in convolutions:
        writers.setdefault(first_writer[each.name], []).append(each.name)
    readers: dict[str, list[Reader]] = {name: [] for name in writers}
    for each in convolutions:
        first = 0
        for source in each.takes:
            readers[first_writer[source]].append(Reader(each.name, first))
            first += known[source].c_out
    return tuple(_group(known, names, readers[name]) for name, names in writers.items())


def _sources_first(convolutions: Sequence[Convolution]) -> list[Convolution]:
    """Those that are added to none before those that are, which then stand in their order."""
    return sorted(convolutions, key=lambda each: each.added_to is not None)


def _group(known: dict[str, Convolution], writers: list[str], readers: list[Reader]) -> ChannelGroup:
    grouped = any(known[name].groups > 1 for name in (*writers, *(reader.name for reader in readers)))
    return ChannelGroup(known[writers[0]].c_out, tuple(writers), tuple(readers), grouped or not readers)
