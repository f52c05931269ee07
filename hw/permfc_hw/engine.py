"""Engine: the boxes of docs/architecture.md, joined."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal, ValueCastable
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from . import axi, orders, registers
from .activation_store import ActivationStore
from .adder_tree import AdderTree
from .feeder import Feeder, FeederItem
from .function_table import FunctionTable, TableCopier, is_copied
from .lane import Lane
from .loader import ROUNDS_AHEAD, Loader
from .queue import Queue
from .read_master import ReadMaster
from .registers import Registers
from .requantiser import Requantiser
from .round_control import RoundControl
from .segment_fetcher import SegmentFetcher
from .sequencer import Sequencer
from .totals import Totals
from .widths import sum_bits

ORDERS_IN_FLIGHT = 16


def delayed(m: Module, value: ValueCastable, cycles: int) -> ValueCastable:
    """``value``, ``cycles`` cycles later."""
    for _ in range(cycles):
        later = Signal(value.shape())
        m.d.sync += later.eq(value)
        value = later
    return value


class Engine(wiring.Component):
    """Runs fully connected networks from an image in memory. Ports carry the names that vendors' tools recognise.

    Members
    -------
    m_axi_ar*, m_axi_r* : AXI4 read master
        Data width ``config.bus_bits``, 32-bit byte addresses, INCR bursts of whole words.
    s_axi_* : AXI4-Lite slave, 32 bits
        See :class:`permfc_hw.registers.Registers`.
    s_axis_t* : AXI4-Stream slave, int8
        One activation a beat in packed order, accepted between runs.
    m_axis_t* : AXI4-Stream master, int32
        One result a beat, TLAST with the last. Whole frames only, one of each run that ends with DONE.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.sequencer = Sequencer(config)
        self.fetcher = SegmentFetcher(config)
        self.queue = Queue(orders.Destination(config), depth=ORDERS_IN_FLIGHT)
        self.read_master = ReadMaster(config)
        self.loader = Loader(config)
        self.round_control = RoundControl(config)
        self.items = Queue(FeederItem(config), depth=1 << ceil_log2(ROUNDS_AHEAD * (config.lanes + 1)), block=True)
        self.feeder = Feeder(config)
        self.lanes = [Lane(config) for _ in range(config.lanes)]
        self.tree = AdderTree(lanes=config.lanes, bits=sum_bits(config), total_bits=config.accumulator_bits)
        self.totals = Totals(config)
        self.requantiser = Requantiser(config)
        self.function_table = FunctionTable(config) if config.tables else None
        self.table_copier = TableCopier(config) if is_copied(config) else None
        self.store = ActivationStore(config)
        self.registers = Registers(config)
        super().__init__({
            "m_axi_araddr": Out(orders.ADDRESS_BITS),
            "m_axi_arlen": Out(8),
            "m_axi_arsize": Out(3),
            "m_axi_arburst": Out(2),
            "m_axi_arvalid": Out(1),
            "m_axi_arready": In(1),
            "m_axi_rdata": In(config.bus_bits),
            "m_axi_rresp": In(2),
            "m_axi_rlast": In(1),
            "m_axi_rvalid": In(1),
            "m_axi_rready": Out(1),
            "s_axi_awaddr": In(registers.ADDRESS_BITS),
            "s_axi_awvalid": In(1),
            "s_axi_awready": Out(1),
            "s_axi_wdata": In(32),
            "s_axi_wstrb": In(4),
            "s_axi_wvalid": In(1),
            "s_axi_wready": Out(1),
            "s_axi_bresp": Out(2),
            "s_axi_bvalid": Out(1),
            "s_axi_bready": In(1),
            "s_axi_araddr": In(registers.ADDRESS_BITS),
            "s_axi_arvalid": In(1),
            "s_axi_arready": Out(1),
            "s_axi_rdata": Out(32),
            "s_axi_rresp": Out(2),
            "s_axi_rvalid": Out(1),
            "s_axi_rready": In(1),
            "s_axis_tdata": In(8),
            "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1),
            "m_axis_tdata": Out(32),
            "m_axis_tvalid": Out(1),
            "m_axis_tready": In(1),
            "m_axis_tlast": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        flush = self.sequencer.flush
        for name in ("fetcher", "queue", "loader", "items", "feeder"):  # as new at the start of every run
            m.submodules[name] = ResetInserter(flush)(getattr(self, name))
        m.submodules.round_control = ResetInserter(flush & ~self.sequencer.clearing)(self.round_control)
        for name in ("sequencer", "read_master", "tree", "totals", "requantiser", "store", "registers"):
            m.submodules[name] = getattr(self, name)
        for number, lane in enumerate(self.lanes):
            m.submodules[f"lane{number}"] = lane
        self._connect_orders(m)
        self._connect_memory(m)
        self._connect_headers(m)
        self._connect_lanes(m)
        self._connect_results(m)
        self._connect_store(m)
        if self.function_table is not None:
            self._connect_function_table(m, self.function_table)
        self._connect_events(m)
        self._connect_host(m)
        return m

    def _connect_orders(self, m: Module) -> None:
        """Sequencer and fetcher work in turn, so one of them orders at a time. An order waits in a register until both the memory and
        the loader take it. All but segments are words of the program, which are read one after the other.
        """
        sequencer, fetcher, queue, runs = self.sequencer, self.fetcher, self.queue, self.read_master.runs
        kinds = orders.OrderKind
        order, pending = Signal(orders.SegmentOrder(self.config), reset_less=True), Signal()
        destination = order.destination
        program = Signal(orders.word_address_shape(self.config))
        step = Signal(orders.WORDS_BITS)  # added a cycle later; no two orders come in consecutive cycles
        ready, has_words = Signal(), Signal()
        m.d.comb += [
            has_words.eq(destination.kind != kinds.ROUND),
            ready.eq(queue.i.ready & (runs.ready | ~has_words)),
            sequencer.orders.ready.eq(~pending),
            fetcher.orders.ready.eq(~pending),
            queue.i.valid.eq(pending & ready),
            queue.i.payload.eq(destination),
            runs.valid.eq(pending & queue.i.ready & has_words),
            runs.payload.words.eq(destination.words),
        ]
        with m.If(~pending):
            m.d.sync += [pending.eq(sequencer.orders.valid | fetcher.orders.valid), order.eq(fetcher.orders.payload)]
            with m.If(sequencer.orders.valid):
                m.d.sync += [destination.kind.eq(sequencer.orders.payload.kind), destination.words.eq(sequencer.orders.payload.words)]
        with m.Elif(ready):
            m.d.sync += pending.eq(0)
        m.d.sync += [step.eq(0), program.eq(program + step)]
        with m.If(destination.kind == kinds.SEGMENT):
            m.d.comb += [runs.payload.address.eq(order.address), runs.payload.joins.eq(order.joins)]
        with m.Else():
            joins = (destination.kind != kinds.HEADER) & (destination.kind != kinds.BIASES)
            m.d.comb += [runs.payload.address.eq(program), runs.payload.joins.eq(joins)]
            with m.If(runs.valid & runs.ready):
                m.d.sync += step.eq(destination.words)
        with m.If(sequencer.flush):
            m.d.sync += [program.eq(0), pending.eq(0)]
        connect(m, queue.o, self.loader.orders)

    def _connect_memory(self, m: Module) -> None:
        master = self.read_master
        connect(m, master.words, self.loader.words)
        m.d.comb += [
            self.m_axi_araddr.eq(master.address.payload.addr),
            self.m_axi_arlen.eq(master.address.payload.len),
            self.m_axi_arsize.eq(ceil_log2(self.config.bus_bytes)),
            self.m_axi_arburst.eq(axi.INCR),
            self.m_axi_arvalid.eq(master.address.valid),
            master.address.ready.eq(self.m_axi_arready),
            master.beats.payload.eq(self.m_axi_rdata),
            master.beats.valid.eq(self.m_axi_rvalid),
            self.m_axi_rready.eq(master.beats.ready),
            master.last.eq(self.m_axi_rlast),
            master.error.eq(self.m_axi_rresp[1]),
            master.flush.eq(self.sequencer.flush),
            self.sequencer.owed.eq(master.owed),
            self.sequencer.failed.eq(master.failed),
            self.sequencer.timed_out.eq(master.timed_out),
            self.sequencer.progress.eq(self.m_axi_rvalid & self.m_axi_rready),
        ]

    def _connect_headers(self, m: Module) -> None:
        """From the program in memory to those who act on it."""
        sequencer, fetcher, loader = self.sequencer, self.fetcher, self.loader
        m.d.comb += [
            sequencer.image_header.eq(loader.image_header),
            sequencer.block_header.eq(loader.block_header),
            sequencer.header_done.eq(loader.header_done),
            sequencer.infos_done.eq(loader.infos_done),
            sequencer.fetched_all.eq(fetcher.done),
            sequencer.malformed.eq(fetcher.malformed),
            fetcher.block_header.eq(loader.block_header),
            fetcher.infos_en.eq(loader.infos_en),
            fetcher.infos_address.eq(loader.address),
            fetcher.infos_data.eq(loader.word_data),
            fetcher.go.eq(sequencer.go),
            fetcher.parameter_words.eq(sequencer.parameter_words),
        ]

    def _connect_lanes(self, m: Module) -> None:
        loader, feeder, control = self.loader, self.feeder, self.round_control
        connect(m, self.items.o, feeder.items)
        self._connect_rounds(m)
        m.d.comb += [
            self.items.i.valid.eq(loader.item_en),
            self.items.i.payload.eq(loader.item),
            feeder.fill_go.eq(control.fill_go),
            feeder.table_en.eq(loader.tables_en),
            feeder.table_address.eq(loader.table_address),
            feeder.table_data.eq(loader.word_data),
            loader.freed_en.eq(control.freed_en),
            loader.freed.eq(control.freed),
            loader.table_complete.eq(1 if self.table_copier is None else ~self.table_copier.busy),
        ]
        for number, lane in enumerate(self.lanes):
            m.d.comb += [
                lane.word_en.eq(loader.word_en[number]),
                lane.word.eq(loader.word),
                lane.word_data.eq(loader.word_data),
                lane.feature_en.eq(feeder.feature_en[number]),
                lane.feature.eq(feeder.feature),
                lane.entry_en.eq(feeder.entry_en[number]),
                lane.entry.eq(feeder.entry),
                lane.control.eq(control.control),
                self.tree.sums[number].eq(lane.sum),
            ]

    def _connect_rounds(self, m: Module) -> None:
        """After a failed run, one silent sweep over all that the lanes have room for."""
        loader, feeder, rounds = self.loader, self.feeder, self.round_control.rounds
        cleared, most = Signal(), self.config.block_outputs
        m.d.comb += [
            rounds.payload.eq(feeder.rounds.payload),
            rounds.valid.eq(feeder.rounds.valid),
            feeder.rounds.ready.eq(rounds.ready),
            loader.round_begun.eq(feeder.rounds.valid & feeder.rounds.ready),
        ]
        m.d.sync += cleared.eq(self.sequencer.clearing & (cleared | rounds.ready))
        with m.If(self.sequencer.clearing):
            silent = {"turns": most // 2, "outputs": most, "words": 0, "sweep": 1, "silent": 1}
            m.d.comb += [rounds.valid.eq(~cleared), *(rounds.payload[name].eq(value) for name, value in silent.items())]

    def _connect_results(self, m: Module) -> None:
        loader, totals, requantiser = self.loader, self.totals, self.requantiser
        m.d.comb += [
            totals.tag.eq(delayed(m, self.round_control.tag, Lane.latency + self.tree.latency - Totals.lead)),
            totals.sum.eq(self.tree.total),
            totals.biases_en.eq(loader.biases_en),
            totals.biases_address.eq(loader.address),
            totals.biases_data.eq(loader.word_data),
            totals.wide_bias.eq(loader.emission.wide_bias),
            requantiser.emission.eq(loader.emission),
            requantiser.total_en.eq(totals.total_en),
            requantiser.end.eq(totals.end),
            requantiser.total.eq(totals.total),
            requantiser.output.eq(totals.output),
            requantiser.multipliers_en.eq(loader.multipliers_en),
            requantiser.multipliers_address.eq(loader.address),
            requantiser.multipliers_data.eq(loader.word_data),
            loader.emitted.eq(requantiser.emitted),
        ]

    def _connect_function_table(self, m: Module, table: FunctionTable) -> None:
        """Its entry is due one cycle after the requantiser's value, two after the result was announced."""
        loader = self.loader
        m.submodules.function_table = table
        m.d.comb += [
            table.result.eq(self.requantiser.coming),
            self.store.replaced.eq(loader.emission.table),
            self.store.replacement.eq(table.entry),
        ]
        if self.table_copier is not None:
            self._connect_table_copier(m, table, self.table_copier)
        else:
            m.d.comb += [
                table.words_en.eq(loader.function_en),
                table.words_address.eq(loader.address),
                table.words_data.eq(loader.word_data),
            ]

    def _connect_table_copier(self, m: Module, table: FunctionTable, copier: TableCopier) -> None:
        """A table's words come, and are copied, while no totals leave: the multipliers' memory has nothing else to do."""
        loader, requantiser = self.loader, self.requantiser
        m.submodules.table_copier = ResetInserter(self.sequencer.flush)(copier)
        m.d.comb += [
            requantiser.table_en.eq(loader.function_en),
            requantiser.table_unit_en.eq(copier.unit_en),
            requantiser.table_unit.eq(copier.unit),
            copier.word_en.eq(loader.function_en),
            copier.word_number.eq(loader.address),
            copier.unit_data.eq(requantiser.table_unit_data),
            table.words_en.eq(copier.words_en),
            table.words_address.eq(copier.words_address),
            table.words_data.eq(copier.words_data),
        ]

    def _connect_store(self, m: Module) -> None:
        sequencer, store, emission = self.sequencer, self.store, self.loader.emission
        layer_done = self.requantiser.emitted & emission.layer_end
        m.d.comb += [
            store.value_en.eq(self.requantiser.value_en),
            store.value.eq(self.requantiser.value),
            store.final.eq(emission.final),
            store.deliver.eq(sequencer.deliver),
            store.loading.eq(~sequencer.busy & ~self.registers.start),
            store.swap.eq(sequencer.swap),
            store.clear.eq(sequencer.fail | self.registers.clear),
            store.read_address.eq(self.fetcher.entry_address),
            self.fetcher.active.eq(store.active),
            self.fetcher.entry.eq(store.entry),
            sequencer.received.eq(store.received),
            sequencer.layer_done.eq(delayed(m, layer_done, 1)),  # when the store has it
            sequencer.final.eq(emission.final),
        ]

    def _connect_events(self, m: Module) -> None:
        sequencer, events = self.sequencer, self.registers.events
        m.d.comb += [
            events.running.eq(sequencer.busy),
            events.beat.eq(self.m_axi_rvalid & self.m_axi_rready),
            events.fetched.eq(self.fetcher.fetched),
            events.features_en.eq(sequencer.go),
            events.features.eq(self.loader.block_header.features),
            events.starved.eq(~self.round_control.decoding & ~self.feeder.rounds.valid),
            events.stalled.eq(self.m_axi_rvalid & ~self.m_axi_rready),
        ]

    def _connect_host(self, m: Module) -> None:
        host, sequencer, store = self.registers, self.sequencer, self.store
        m.d.comb += [
            host.write_address.payload.eq(self.s_axi_awaddr),
            host.write_address.valid.eq(self.s_axi_awvalid),
            self.s_axi_awready.eq(host.write_address.ready),
            host.write_data.payload.eq(self.s_axi_wdata),
            host.write_data.valid.eq(self.s_axi_wvalid),
            self.s_axi_wready.eq(host.write_data.ready),
            self.s_axi_bvalid.eq(host.write_response.valid),
            host.write_response.ready.eq(self.s_axi_bready),
            host.read_address.payload.eq(self.s_axi_araddr),
            host.read_address.valid.eq(self.s_axi_arvalid),
            self.s_axi_arready.eq(host.read_address.ready),
            self.s_axi_rdata.eq(host.read_data.payload),
            self.s_axi_rvalid.eq(host.read_data.valid),
            host.read_data.ready.eq(self.s_axi_rready),
            host.started.eq(sequencer.start & ~sequencer.busy),
            host.busy.eq(sequencer.busy),
            host.done.eq(sequencer.done),
            host.error.eq(sequencer.error),
            host.results.eq(store.holding),
            sequencer.start.eq(host.start & ~store.holding),
            sequencer.clear.eq(host.clear),
            self.read_master.image_page.eq(host.image_page),
            store.inputs.payload.eq(self.s_axis_tdata),
            store.inputs.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(store.inputs.ready),
            self.m_axis_tdata.eq(store.results.payload),
            self.m_axis_tvalid.eq(store.results.valid),
            store.results.ready.eq(self.m_axis_tready),
            self.m_axis_tlast.eq(store.last),
        ]
