"""The cycle law: the clock cycles of a run, predicted from the network, its input and the engine.

The engine's orders are followed in their order, each with the cycle in which it is given, asked for, answered and, where it ends a round, decoded;
nothing below that is simulated. Constants are registers on the way from one box to the next, fitted to counted cycles (docs/architecture.md).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..config import EngineConfig
from ..network import Network, check_activations
from .layout import BlockLayout, image_layout

LATENCY = 30         # cycles from a read's address to its first word, unless told
SHORTEST_TURNS = 4   # of a round
ROUNDS_AHEAD = 7     # that are loaded and not begun
_ORDERS_AHEAD = 18   # that are given and not carried out
_START = 1           # from START to the order of the image header
_ASK = 1             # from an order to the address of its read
_TAKE = 3            # from an order to where another one can wait in its place
_BURST = 4           # between two addresses ...
_NEXT = 2            # ... of which the second continues the first
_JOIN = 5            # from where a run is taken in to the first address that the one behind it can still join
_FREE = 0            # from the last word of a burst to where another one can be asked for
_WORD = 2            # from an answer to the word in its place
_CHECK = 4           # from the last word of a header or of class infos to what follows from it
_CLASS = 5           # to read a class info
_FEATURE = 2         # to give the order of a feature's segment
_ROUND = 2           # to give the order of a round
_FEED = 1            # from the word or order in its place to the feeder
_FILL = 18           # of a level table
_BEGIN = 7           # from a round offered to its first codeword in stage 1
_TAKEN = 4           # from there to where the lanes need nothing more of what the feeder gave them
_RESULT = 24         # from a sum's turn to its result, beside a cycle for each level of the adder tree
_TABLE_BITS = 32     # widest words that go right into the function table
_COPY = 131          # to copy wider ones into it
_SWAP = 1            # from a layer's last result to the next layer's first class
_DONE = 4            # from the last result to where cycles are no longer counted


@dataclass(frozen=True, eq=False)
class Cycles:
    """Predicted cycles of runs.

    Members
    -------
    total : int64 [batch]
        From START to the last result.
    words : int64 [batch]
        Cycles in which a word arrives.
    decode : int64 [batch]
        Cycles in which the lanes decode, or their sums leave.
    """

    total: np.ndarray
    words: np.ndarray
    decode: np.ndarray

    @property
    def limit(self) -> str:
        """Value of what the runs wait for most: "memory" or "decode", or "start-up" if both are idle for more than a third of the time."""
        words, decode, total = (float(cycles.sum()) for cycles in (self.words, self.decode, self.total))
        if max(words, decode) < total * 2 / 3:
            return "start-up"
        return "memory" if words >= decode else "decode"


def predicted_cycles(network: Network, x: np.ndarray | None, config: EngineConfig, latency: int = LATENCY) -> Cycles:
    """Cycles that the engine ``config`` takes for each input, with a memory that gives a word a cycle.

    Parameters
    ----------
    network : Network
    x : int8 [batch, inputs] or int8 [inputs], packed order, or None
        None for one run in which no activation is zero.
    config : EngineConfig
    latency : int
        Cycles from a read's address to its first word.

    Raises
    ------
    InputError
        If ``x`` has another type or length.
    """
    layout, active = image_layout(network, config.bus_bytes), _active(network, x)
    runs = []
    for number in range(len(active[0])):
        run = _Run(config, latency, layout.header_words)
        for block, following in zip(layout.blocks, [*layout.blocks[1:], None], strict=True):
            run.follow(block, active[block.layer][number], following is None or following.layer != block.layer)
        runs.append((run.finished + _DONE, run.bus.words, run.lanes.decode))
    return Cycles(*np.array(runs, dtype=np.int64).reshape(-1, 3).T)


def _active(network: Network, x: np.ndarray | None) -> list[np.ndarray]:
    """Which features are not zero, bool [batch, features] a layer."""
    if x is None:
        return [np.ones((1, layer.features), dtype=bool) for layer in network.layers]
    x = x[None] if isinstance(x, np.ndarray) and x.ndim == 1 else x
    check_activations(x, network.inputs)
    return [received != 0 for received in network.layer_inputs(x)]


class _Bus:
    """Reads behind each other, a word a cycle, with so many bursts unanswered."""

    def __init__(self, config: EngineConfig, latency: int) -> None:
        self._latency = latency
        self._ends = deque([0] * config.outstanding, maxlen=config.outstanding)  # of the last bursts
        self._asked = self._end = self.words = 0
        self._taken = deque([0, 0], maxlen=2)  # when the last two orders left the place in which the next ones wait

    @property
    def room(self) -> int:
        """When another order can be given: one waits in the ReadMaster, one in front of it."""
        return self._taken[0]

    def read(self, ordered: int, words: int, joins: bool, free: int) -> int:
        """The cycle in which the last of the words is in its place; none is before ``free``."""
        if joins and max(ordered + _ASK, self._taken[-1] + _JOIN) <= self._asked:  # its burst still waits
            first = self._end + 1
            self._taken.append(max(ordered, self._taken[-1]) + _TAKE)
        else:
            before = self._taken[-1] if joins else self._asked  # others wait until there is nothing to be asked for
            self._taken.append(max(ordered + _TAKE, before + 1))
            asked = max(ordered + _ASK, self._asked + (_NEXT if joins else _BURST), self._ends[0] + _FREE)
            self._asked = asked + asked % 2  # the cycles between are for taking runs in
            first = max(self._asked + self._latency, self._end + 1)
            self._ends.append(0)
        self._end = self._ends[-1] = max(first, free) + words - 1
        self.words += words
        return self._end + _WORD


class _Member(NamedTuple):
    """A segment of a round: its words, its class's turns and level table, and when it came; of a ``pair`` with another table."""

    words: int
    turns: int
    table: int
    pair: bool
    arrived: int


class _Lanes:
    """Rounds behind each other."""

    def __init__(self, config: EngineConfig) -> None:
        self._room = config.segment_bytes // config.bus_bytes  # words of the rounds behind which any segment still fits
        self._begun = deque([0] * ROUNDS_AHEAD, maxlen=ROUNDS_AHEAD)  # when the last rounds were
        self._held: deque[tuple[int, int]] = deque()  # words of the last rounds, and when these are free
        self._next = self._taken = self.decode = 0
        self._tables = np.full(config.lanes, -1)

    def free(self) -> int:
        """When the segments of the next round may come."""
        free, held = self._begun[0], 0
        for words, until in reversed(self._held):
            held += words
            if held > self._room:
                return max(free, until)
        return free

    def begin(self, complete: int, turns: int, words: int, members: list[_Member]) -> int:
        """When the next round begins, whose last segment or order is in its place at ``complete``."""
        begin = max(max(complete + _FEED, self._given(members)) + _BEGIN, self._next)
        if self._held:
            self._held[-1] = self._held[-1][0], begin + _TAKEN
        self._held.append((words, 1 << 62))
        if len(self._held) > ROUNDS_AHEAD + 2:
            self._held.popleft()
        self._begun.append(begin)
        self._taken = begin + _TAKEN
        cycles = 2 * max(turns, SHORTEST_TURNS) + 2
        self._next = begin + cycles
        self.decode += cycles
        return begin

    def _given(self, members: list[_Member]) -> int:
        """When all lanes have their level tables; those behind the first that needs one get it, too."""
        given = self._taken
        for lane, member in enumerate(members):
            if self._tables[lane] != member.table:
                self._tables[lane::2 if member.pair else 1] = member.table
                given = max(given, member.arrived + _FEED) + _FILL
        return max(given, self._taken + len(members))

    def forget_tables(self) -> None:
        """Those of a new block are others."""
        self._tables[:] = -1


class _Run:
    """A run, as far as it has been followed."""

    def __init__(self, config: EngineConfig, latency: int, header_words: int) -> None:
        self.bus, self.lanes = _Bus(config, latency), _Lanes(config)
        self._config = config
        self._carried = deque([0] * _ORDERS_AHEAD, maxlen=_ORDERS_AHEAD)  # when the last orders were carried out
        self._ordered = _START
        self._emitted = self.finished = 0
        self._list_ready = self._ordered = self._order(header_words) + _CHECK

    def _order(self, words: int, cycles: int = _ROUND, joins: bool = False, free: int = 0) -> int:
        """When an order that takes ``cycles`` to give is carried out."""
        self._ordered = max(self._ordered + cycles, self._carried[0], self.bus.room)
        done = self.bus.read(self._ordered, words, joins, free) if words else max(self._carried[-1] + 1, self._ordered + _ASK, free)
        self._carried.append(done)
        return done

    def follow(self, block: BlockLayout, active: np.ndarray, last: bool) -> None:
        """A block with the activations that are not zero, bool [features]; with ``last`` its layer's results are complete after it."""
        described = self._order(block.header_words + block.info_words, joins=True)
        self._order(block.table_words, 0, joins=True)
        self._ordered = max(described + _CHECK, self._list_ready)
        self.lanes.forget_tables()
        self._rounds(block, active)
        complete = 0
        for number, words in enumerate((block.bias_words, block.mul_words, block.function_words)):
            if words:
                complete = self._order(words, joins=number > 0, free=self._emitted)
        if block.function_words and self._config.bus_bits > _TABLE_BITS:
            complete += _COPY
        begin = self.lanes.begin(self._order(0, free=complete), -(-block.outputs // 2), 0, [])
        self.finished = self._emitted = begin + block.outputs + _RESULT + (self._config.lanes - 1).bit_length()
        if last:
            self._list_ready = self.finished + _SWAP

    def _rounds(self, block: BlockLayout, active: np.ndarray) -> None:
        """All features in their order, up to ``lanes`` segments a round."""
        members: list[_Member] = []
        slot, neighbour = 0, -1
        for segments, feature_words in zip(block.classes, block.feature_words, strict=True):
            halves, neighbour = segments.kind.slots, -1
            words = feature_words // halves
            self._ordered += _CLASS * halves
            features = segments.first + np.flatnonzero(active[segments.first:segments.end])
            if not words:  # they are passed over, or are the last
                self._ordered += _FEATURE * len(features) * (segments is not block.classes[-1])
                features = features[:0]
            for feature in features:
                for half in range(halves):
                    if len(members) == self._config.lanes:
                        self._close(members)
                        members = []
                    done = self._order(words, _FEATURE, half > 0 or feature == neighbour, self.lanes.free())
                    members.append(_Member(words, segments.turns, slot + half, halves > 1, done - words + 1))
                neighbour = feature + 1
            slot += halves
        if members:
            self._close(members)

    def _close(self, members: list[_Member]) -> None:
        turns, words = (max(values) for values in ([member.turns for member in members], [member.words for member in members]))
        self.lanes.begin(self._order(0), turns, words, members)
