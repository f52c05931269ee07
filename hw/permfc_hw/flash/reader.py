"""FlashReader: a QSPI flash as an AXI4 read slave that streams."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.errors import ConfigError
from permfc.memory.part import FlashPart

from ..axi import DECERR, OKAY
from ..orders import ADDRESS_BITS
from ..read_data import ReadData
from .shifter import Shifter

FLASH_ADDRESS_BITS = 24
CONTINUOUS = 0xA0     # mode bits after the address: the next command needs no instruction
DUMMY_CLOCKS = 4
LEAST_WORDS = 4       # bus words that wait or are on their way

# What brings the flash from any state into continuous read (Winbond W25Q128JV data sheet, chapter 8): (byte, on four lines, chip select ends).
_SCRIPT = (
    *[(0xFF, 1, 0)] * 3, (0xFF, 1, 1),        # ends continuous read, if that is what it is in: mode bits 0xFF
    (0xAB, 0, 1),                             # release from power-down, into which an iCE40 sends it after configuration
    (0x50, 0, 1), (0x31, 0, 0), (0x02, 0, 1),  # volatile status register 2: QE, the pins WP# and HOLD# carry data
    (0xEB, 0, 0), *[(0x00, 1, 0)] * 3, (CONTINUOUS, 1, 1),  # fast read quad I/O of address 0, not waited for
)


class FlashReader(wiring.Component):
    """Reads a serial flash by continuous fast read quad I/O (0xEB), four bits a clock. A read that begins where the last one ended goes on with it.

    The pins' clock runs in the cycles in which ``flash_sck_en`` is high, with its rising edge in the middle (mode 0).

    Parameters
    ----------
    part : FlashPart
    clock_hz : float
        Frequency of the clock, at the pins too.
    bus_bits : int
        Width of the AXI data channel: 16 to 64.
    pin_delay : int
        Cycles that registers between here and the pins add, to and fro.

    Members
    -------
    s_axi_ar*, s_axi_r* : AXI4 slave without IDs
        INCR bursts of whole words; DECERR answers what is outside of the flash.
    flash_cs_n, flash_sck_en, flash_io_o, flash_io_oe : Out
    flash_io_i : In(4)
    initialised : Out(1)
        The flash is in continuous read.

    Raises
    ------
    ConfigError
        If the bus is not 16, 32 or 64 bits wide, or three bytes do not address the part.
    """

    def __init__(self, part: FlashPart, clock_hz: float, bus_bits: int, *, pin_delay: int = 0) -> None:
        if bus_bits not in (16, 32, 64):
            raise ConfigError(f"The bus of {part.name} must have 16, 32 or 64 bits, not {bus_bits}")
        if part.size > 1 << FLASH_ADDRESS_BITS or part.size & (part.size - 1):
            raise ConfigError(f"{part.name} has {part.size} bytes; the flash reader addresses a power of two, {1 << FLASH_ADDRESS_BITS} at most")
        self.part, self.clock_hz, self.bus_bits = part, clock_hz, bus_bits
        super().__init__({
            "s_axi_araddr": In(ADDRESS_BITS), "s_axi_arlen": In(8), "s_axi_arsize": In(3), "s_axi_arburst": In(2),
            "s_axi_arvalid": In(1), "s_axi_arready": Out(1),
            "s_axi_rdata": Out(bus_bits), "s_axi_rresp": Out(2), "s_axi_rlast": Out(1), "s_axi_rvalid": Out(1), "s_axi_rready": In(1),
            "flash_cs_n": Out(1, init=1), "flash_sck_en": Out(1), "flash_io_o": Out(4), "flash_io_oe": Out(4), "flash_io_i": In(4),
            "initialised": Out(1),
        })
        self._shifter = Shifter()
        # A slot is the clock in which the second half of a byte is on the pins; a register of the clock's enable, one of the data.
        self._read_data = ReadData(width=8, bus_bits=bus_bits, delay=2 + pin_delay, depth=LEAST_WORDS)
        self._byte_bits = ceil_log2(bus_bits // 8)
        self._selected, self._clocking = Signal(), Signal()
        self._address = Signal(FLASH_ADDRESS_BITS - self._byte_bits)  # the next word
        self._left = Signal(range(257))                               # words of the burst
        self._outside = Signal()                                      # the burst is not in the flash

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.shifter = shifter = self._shifter
        m.submodules.read_data = read_data = self._read_data
        m.d.sync += [
            self.flash_cs_n.eq(~self._selected),
            self.flash_sck_en.eq(self._clocking | shifter.busy),
            self.flash_io_o.eq(shifter.io_o),
            self.flash_io_oe.eq(shifter.io_oe),
        ]
        earlier = Signal(4)
        m.d.sync += earlier.eq(self.flash_io_i)
        m.d.comb += [
            read_data.dq.eq(Cat(self.flash_io_i, earlier)),
            self.s_axi_rdata.eq(read_data.beats.payload.data),
            self.s_axi_rresp.eq(Mux(read_data.beats.payload.outside, DECERR, OKAY)),
            self.s_axi_rlast.eq(read_data.beats.payload.last),
            self.s_axi_rvalid.eq(read_data.beats.valid),
            read_data.beats.ready.eq(self.s_axi_rready),
        ]
        with m.FSM():
            self._initialise(m)
            self._accept(m)
            self._send_address(m)
            self._stream(m)
        return m

    def _initialise(self, m: Module) -> None:
        """The script, a byte at a time; chip select rests long enough after each command for a release from power-down."""
        shifter, selected = self._shifter, self._selected
        settle = int(self.part.txp * 1e-9 * self.clock_hz) + 1
        wait, step = Signal(range(settle + 1), init=settle), Signal(range(len(_SCRIPT) + 1))
        script = Array(Cat(Const(byte, 8), Const(quad, 1), Const(end, 1)) for byte, quad, end in _SCRIPT)
        entry, ends = Signal(10), Signal()
        m.d.comb += entry.eq(script[step])
        with m.State("Settle"):
            m.d.sync += [selected.eq(0), wait.eq(wait - 1)]
            with m.If(wait == 0):
                m.next = "Load"
        with m.State("Load"):
            m.d.comb += [
                shifter.load.eq(step != len(_SCRIPT)),
                shifter.data.eq(entry[:8] << 24),
                shifter.quad.eq(entry[8]),
                shifter.drive.eq(1),
                shifter.clocks.eq(Mux(entry[8], 2, 8)),
            ]
            m.d.sync += [ends.eq(entry[9]), wait.eq(settle)]
            with m.If(step == len(_SCRIPT)):
                m.d.sync += self.initialised.eq(1)
                m.next = "Rest"
            with m.Else():
                m.d.sync += [selected.eq(1), step.eq(step + 1)]
                m.next = "Send"
        with m.State("Send"):
            with m.If(shifter.last):
                with m.If(ends):
                    m.next = "Settle"
                with m.Else():
                    m.next = "Load"

    def _accept(self, m: Module) -> None:
        """A burst, and whether it goes on where the last one ended."""
        word, first = self.s_axi_araddr[self._byte_bits:], Signal()
        with m.State("Rest"):
            m.d.comb += self.s_axi_arready.eq(1)
            m.d.sync += [
                self._outside.eq(self.s_axi_araddr[ceil_log2(self.part.size):].any()),
                first.eq(~self._selected | (self._address != word[:len(self._address)])),
            ]
            with m.If(self.s_axi_arvalid):
                m.d.sync += [self._address.eq(word), self._left.eq(self.s_axi_arlen + 1)]
                m.next = "Judge"
        with m.State("Judge"):
            with m.If(first | self._outside):
                m.d.sync += self._selected.eq(0)
            m.next = "Stream"
            with m.If(first & ~self._outside):
                m.next = "Deselected"

    def _send_address(self, m: Module) -> None:
        shifter = self._shifter
        with m.State("Deselected"):  # two cycles: 50 ns (tSHSL2) up to 40 MHz, 10 ns between reads (tSHSL1) at any clock
            m.next = "Address"
        with m.State("Address"):
            m.d.sync += self._selected.eq(1)
            m.d.comb += [
                shifter.load.eq(~self._selected),
                shifter.data.eq(Cat(Const(CONTINUOUS, 8), Const(0, self._byte_bits), self._address)),
                shifter.quad.eq(1),
                shifter.drive.eq(1),
                shifter.clocks.eq(8),
            ]
            with m.If(shifter.last):
                m.next = "Dummy"
        with m.State("Dummy"):
            m.d.comb += [shifter.load.eq(~shifter.busy), shifter.quad.eq(1), shifter.clocks.eq(DUMMY_CLOCKS)]
            with m.If(shifter.last):
                m.next = "Stream"

    def _stream(self, m: Module) -> None:
        """The clock runs while there is room for the word."""
        read_data, left = self._read_data, self._left
        phase = Signal(ceil_log2(self.bus_bits // 4))  # of a word, in clocks
        moves = Signal()
        m.d.comb += moves.eq((left != 0) & (read_data.room | (phase != 0)))
        with m.State("Stream"):
            m.d.comb += [
                self._clocking.eq(moves & ~self._outside),
                read_data.begins_word.eq(moves & (phase == 0)),
                read_data.slot.valid.eq(moves & phase[0]),
                read_data.slot.ends_word.eq(phase.all()),
                read_data.slot.last.eq(left == 1),
                read_data.slot.outside.eq(self._outside),
            ]
            with m.If(moves):
                m.d.sync += phase.eq(phase + 1)
                with m.If(phase.all()):
                    m.d.sync += [left.eq(left - 1), self._address.eq(self._address + 1)]
            with m.If(left == 0):
                m.next = "Rest"
