"""Orders: what the engine wants read from memory, and where the words go."""

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, enum
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAX_CLASSES

ADDRESS_BITS = 32  # byte address on the bus
WORDS_BITS = 13    # most words of one order: the biases of 4096 outputs over 16 bits


class OrderKind(enum.Enum, shape=unsigned(3)):
    """Where the words of an order go."""

    HEADER = 0       # image header
    DESCRIPTOR = 1   # block header, class infos, level tables
    SEGMENT = 2      # a lane's segment buffer
    BIASES = 3
    MULTIPLIERS = 4
    ROUND = 5        # no words: all segments of the round have been ordered
    FUNCTION = 6     # a layer's function table


def word_address_shape(config: EngineConfig) -> Shape:
    """Shape of an address in bus words, counted from the start of the image."""
    return unsigned(ADDRESS_BITS - ceil_log2(config.bus_bytes))


class Destination(data.StructLayout):
    """What the loader must know of an order. ``pair`` marks the segments of a dense8 feature. For ``ROUND``, ``words`` are its turns, and ``sweep``
    tells that it is its block's sweep.
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({
            "kind": OrderKind,
            "words": WORDS_BITS,
            "slot": ceil_log2(MAX_CLASSES),
            "pair": 1,
            "x": signed(8),
            "sweep": 1,
        })


class SegmentOrder(data.StructLayout):
    """An order of the segment fetcher. ``address`` is a segment's; ``joins`` tells that it continues the segment ordered before."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"address": word_address_shape(config), "joins": 1, "destination": Destination(config)})


class ProgramOrder(data.Struct):
    """An order for the next words of the image's program, which lie where the last ones ended."""

    kind: OrderKind
    words: unsigned(WORDS_BITS)
