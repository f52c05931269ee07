"""Programs for the loader's tests: orders, their words, and what must come of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from permfc.config import EngineConfig
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, LEVEL_ENTRY, MAX_CLASSES, MAX_LEVELS, BlockFlag, words
from permfc_hw.loader import ROUNDS_AHEAD
from permfc_hw.orders import OrderKind
from permfc_hw.round_control import SHORTEST

LANES = 4
FLAGS = {"layer_end": BlockFlag.LAST, "final": BlockFlag.FINAL, "relu": BlockFlag.RELU, "raw": BlockFlag.RAW,
         "wide_bias": BlockFlag.WIDE_BIAS, "shared_mul": BlockFlag.SHARED_MUL, "table": BlockFlag.TABLE}
TABLE_WORDS = 4  # of a function table; the fewest there are


def small_config(bus_bits: int) -> EngineConfig:
    return EngineConfig(lanes=LANES, bus_bits=bus_bits, block_outputs=64, features=64)


@dataclass
class Program:
    """Orders, their words, and what must come of them."""

    config: EngineConfig
    draw: random.Random
    orders: list[dict] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    writes: list[tuple] = field(default_factory=list)     # (memory, address, word) or (lane, number, word)
    items: list[dict] = field(default_factory=list)       # for the feeder
    emissions: list[dict] = field(default_factory=list)   # of each block
    image_header: np.ndarray | None = None
    block_headers: list[np.ndarray] = field(default_factory=list)
    base: int = 0  # where the round's segments begin

    @property
    def longest(self) -> int:
        """Words of the longest segment; the buffers hold two of them."""
        return self.config.segment_bytes // self.config.bus_bytes

    @property
    def bank(self) -> int:
        """Of the level tables of the current block."""
        return (len(self.block_headers) - 1) % 2

    @property
    def rounds(self) -> int:
        return sum(item["closes"] for item in self.items)

    def random_words(self, count: int) -> list[int]:
        return [self.draw.getrandbits(self.config.bus_bits) for _ in range(count)]

    def order(self, kind: OrderKind, payload: list[int], **fields: int) -> list[int]:
        unused = {"slot": self.draw.randrange(MAX_CLASSES), "x": self.draw.randrange(-128, 128), "pair": self.draw.randrange(2), "sweep": 0}
        self.orders.append({**unused, "kind": kind, "words": len(payload), **fields})
        self.words += payload
        return payload

    def record(self, dtype: np.dtype) -> np.ndarray:
        """A header of random bytes."""
        return np.frombuffer(self.draw.randbytes(dtype.itemsize), dtype)[0].copy()

    def as_words(self, record: np.ndarray) -> list[int]:
        size, stored = self.config.bus_bytes, record.tobytes()
        return [int.from_bytes(stored[start:start + size], "little") for start in range(0, len(stored), size)]

    def add_image_header(self) -> None:
        self.image_header = self.record(IMAGE_HEADER)
        self.order(OrderKind.HEADER, self.as_words(self.image_header))

    def add_descriptor(self) -> None:
        header, size = self.record(BLOCK_HEADER), self.config.bus_bytes
        classes = header["classes"] = self.draw.randint(1, MAX_CLASSES)
        header["outputs"] = self.draw.randint(1, self.config.block_outputs)
        self.block_headers.append(header)
        infos = self.random_words(words(int(classes) * CLASS_INFO.itemsize, size))
        tables = self.random_words(words(int(classes) * MAX_LEVELS * LEVEL_ENTRY.itemsize, size))
        self.order(OrderKind.DESCRIPTOR, [*self.as_words(header), *infos, *tables])
        bank = self.bank * words(MAX_CLASSES * MAX_LEVELS * LEVEL_ENTRY.itemsize, size)
        self.writes += [("infos", *entry) for entry in enumerate(infos)] + [("tables", *entry) for entry in enumerate(tables, bank)]

    def add_round(self, counts: list[int]) -> None:
        """A segment of so many words for each lane, from the first one on."""
        for lane, count in enumerate(counts):
            slot, x, pair = self.draw.randrange(MAX_CLASSES), self.draw.randrange(-128, 128), self.draw.randrange(2)
            payload = self.order(OrderKind.SEGMENT, self.random_words(count), slot=slot, x=x, pair=pair)
            numbers = [(self.base + number) % (2 * self.longest) for number in range(count)]
            self.writes += [(lane, number, word) for number, word in zip(numbers, payload, strict=True)]
            self.items.append({"closes": 0, "x": x, "last_word": numbers[-1], "table": self.bank * MAX_CLASSES + slot, "pair": pair})
        self.close(max(counts, default=0), sweep=0)

    def close(self, widest: int, sweep: int) -> None:
        turns = self.draw.randint(0, self.config.block_outputs // 2)
        self.order(OrderKind.ROUND, [], words=turns, sweep=sweep)
        outputs = int(self.block_headers[-1]["outputs"])
        self.items.append({"closes": 1, "turns": max(turns, SHORTEST), "outputs": outputs, "words": widest, "sweep": sweep, "silent": 0})
        self.base += widest

    def add_end(self) -> None:
        """Parameters and sweep."""
        kinds = {OrderKind.BIASES: self.draw.randint(1, 4), OrderKind.MULTIPLIERS: self.draw.randint(1, 4), OrderKind.FUNCTION: TABLE_WORDS}
        for kind, count in kinds.items():
            if kind is OrderKind.BIASES or self.draw.random() < 0.7:
                payload = self.order(kind, self.random_words(count))
                self.writes += [(kind.name.lower(), *entry) for entry in enumerate(payload)]
        self.close(0, sweep=1)
        header = self.block_headers[-1]
        flags = {name: int(bool(int(header["flags"]) & flag)) for name, flag in FLAGS.items()}
        self.emissions.append({"shift": int(header["shift"]), "mul": int(header["mul"]), **flags})

    def add_block(self, rounds: int) -> None:
        """With short segments, of which the buffers hold many rounds, with long ones, or with both."""
        self.add_descriptor()
        low, high = self.draw.choice([(1, 1), (1, min(3, self.longest)), (1, self.longest), (self.longest, self.longest)])
        for _ in range(rounds):
            self.add_round([self.draw.randint(low, high) for _ in range(self.draw.choice([1, LANES - 1, LANES, LANES]))])
        self.add_end()


def random_program(seed: int, bus_bits: int) -> Program:
    program = Program(small_config(bus_bits), random.Random(seed))
    program.add_image_header()
    for rounds in (1, 0, program.draw.randint(2, 4), program.draw.randint(ROUNDS_AHEAD, 2 * ROUNDS_AHEAD), 1):
        program.add_block(rounds)
    return program


def program_of(counts: list[list[int]], bus_bits: int = 32) -> Program:
    """One block of rounds with segments of so many words."""
    program = Program(small_config(bus_bits), random.Random(0))
    program.add_descriptor()
    for lanes in counts:
        program.add_round(lanes)
    return program
