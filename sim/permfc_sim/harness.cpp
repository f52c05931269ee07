// A C interface around the Verilated testbench. The loop over cycles is here; Python calls it once a transaction.
// Functions that wait take a limit in cycles and return TIMED_OUT when it is reached.
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vtestbench.h"
#include "Vtestbench___024root.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr int TIMED_OUT = -1;
constexpr int RESET_CYCLES = 4;
constexpr int POLL_CYCLES = 32;  // between two reads of the status register
constexpr int READ = 1, WRITE = 2, LOAD_MODE = 6;  // sdram_commands::command_t; a trace has the commands up to LOAD_MODE

struct Counters {
    uint64_t cycles, bursts, beats, most_in_flight, violations, first_rule, first_cycle;
};

// The rule of the memory that was broken first, from 1, and the two commands that broke it.
struct MemoryViolation {
    uint64_t count;
    uint32_t rule, earlier_command, earlier_cycle, later_command, later_cycle;
};

// One command at the memory's pins, and one read that the bus accepted; NumPy reads arrays of them as they lie here.
struct PinCommand {
    uint64_t cycle;
    uint32_t row, column, beats;
    uint8_t command, bank;
};

struct BusRead {
    uint64_t cycle;
    uint32_t address, beats;
};

struct Behaviour {
    uint32_t latency, gap, outstanding, seed, fault, fault_address, stall;
};

class Simulation {
public:
    explicit Simulation(const char* waves) : top{new Vtestbench{&context}} {
        const char* arguments[] = {"permfc"};
        context.commandArgs(1, arguments);  // the memory asks for plusargs; there are none
#if VM_TRACE
        if (waves) {
            context.traceEverOn(true);
            trace.reset(new VerilatedVcdC);
            top->trace(trace.get(), 99);
            trace->open(waves);
        }
#else
        (void)waves;
#endif
    }

    ~Simulation() {
        Verilated::threadContextp(&context);  // the run-time library looks here, where another simulation may have been
#if VM_TRACE
        if (trace) trace->close();
#endif
        top->final();
    }

    void configure(const Behaviour& behaviour) {
        top->memory_latency = behaviour.latency;
        top->memory_gap = behaviour.gap;
        top->memory_outstanding = behaviour.outstanding;
        top->memory_seed = behaviour.seed;
        top->memory_fault = behaviour.fault;
        top->memory_fault_address = behaviour.fault_address;
        stall = behaviour.stall;
        if (!random) random = behaviour.seed * 0x9E3779B97F4A7C15ull | 1;
    }

    void reset() {
        input.clear();
        output.clear();
        top->s_axi_awvalid = top->s_axi_wvalid = top->s_axi_bready = top->s_axi_arvalid = top->s_axi_rready = 0;
        top->s_axi_wstrb = 0xF;
        offered = 0;
        top->rst = 1;
        for (int i = 0; i < RESET_CYCLES; ++i) tick();
        top->rst = 0;
        tick();
    }

    bool initialise(uint64_t limit) {
        for (uint64_t end = cycles + limit; !top->memory_initialised && !broken() && cycles < end;) tick();
        return top->memory_initialised;
    }

    bool load(uint64_t address, const uint8_t* data, uint64_t count) {
        auto& words = top->rootp->testbench__DOT__memory__DOT__store__DOT__words;
        if (address > sizeof words || count > sizeof words - address) return false;
        std::memcpy(reinterpret_cast<uint8_t*>(&words) + address, data, count);
        return true;
    }

    int write_register(uint32_t address, uint32_t value, uint64_t limit) {
        top->s_axi_awaddr = address;
        top->s_axi_wdata = value;
        top->s_axi_awvalid = top->s_axi_wvalid = top->s_axi_bready = 1;
        bool answered = false;
        int response = 0;
        for (uint64_t end = cycles + limit; !answered && cycles < end;) {
            settle();
            bool address_taken = top->s_axi_awvalid && top->s_axi_awready, data_taken = top->s_axi_wvalid && top->s_axi_wready;
            answered = top->s_axi_bvalid;
            response = top->s_axi_bresp;
            edge();
            if (address_taken) top->s_axi_awvalid = 0;
            if (data_taken) top->s_axi_wvalid = 0;
        }
        top->s_axi_awvalid = top->s_axi_wvalid = top->s_axi_bready = 0;
        return answered ? response : TIMED_OUT;
    }

    int read_register(uint32_t address, uint32_t* value, uint64_t limit) {
        top->s_axi_araddr = address;
        top->s_axi_arvalid = top->s_axi_rready = 1;
        bool answered = false;
        int response = 0;
        for (uint64_t end = cycles + limit; !answered && cycles < end;) {
            settle();
            bool taken = top->s_axi_arvalid && top->s_axi_arready;
            answered = top->s_axi_rvalid;
            response = top->s_axi_rresp;
            *value = top->s_axi_rdata;
            edge();
            if (taken) top->s_axi_arvalid = 0;
        }
        top->s_axi_arvalid = top->s_axi_rready = 0;
        return answered ? response : TIMED_OUT;
    }

    int64_t send(const uint8_t* data, uint64_t count, uint64_t limit) {
        input.assign(data, data + count);
        for (uint64_t end = cycles + limit; !input.empty() && cycles < end;) tick();
        int64_t left = input.size();
        input.clear();
        offered = 0;
        return count - left;
    }

    int wait(uint32_t address, uint32_t busy, uint32_t* status, uint64_t limit) {
        for (uint64_t end = cycles + limit; cycles < end;) {
            int response = read_register(address, status, limit);
            if (response != 0 || !(*status & busy) || broken()) return response;
            for (int i = 0; i < POLL_CYCLES; ++i) tick();
        }
        return TIMED_OUT;
    }

    uint64_t receive(int32_t* data, uint8_t* last, uint64_t count, uint64_t limit) {
        for (uint64_t end = cycles + limit; output.size() < count && cycles < end;) tick();
        uint64_t taken = output.size() < count ? output.size() : count;
        for (uint64_t i = 0; i < taken; ++i) {
            data[i] = output.front().data;
            last[i] = output.front().last;
            output.pop_front();
        }
        return taken;
    }

    void discard_output() { output.clear(); }

    void run(uint64_t count) {
        for (uint64_t i = 0; i < count; ++i) tick();
    }

    Counters counters() const {
        return {cycles, top->bursts, top->beats, top->most_in_flight, top->violations, top->first_rule, top->first_cycle};
    }

    MemoryViolation memory_violation() const {
        return {top->memory_violations, top->memory_first_rule, top->memory_earlier_command, top->memory_earlier_cycle,
                top->memory_later_command, top->memory_later_cycle};
    }

    void forget_commands() {
        commands.clear();
        access = SIZE_MAX;
    }

    std::vector<PinCommand> commands;
    std::vector<BusRead> reads;

private:
    struct Result {
        int32_t data;
        bool last;
    };

    bool broken() const { return top->violations || top->memory_violations; }

    // What the memory is told in this cycle. A word belongs to the last READ or WRITE, which may be the one of this cycle.
    void log_memory() {
        if (top->memory_command <= LOAD_MODE) {
            if (top->memory_command == READ || top->memory_command == WRITE) access = commands.size();
            commands.push_back({cycles, top->memory_row, top->memory_column, 0, top->memory_command, top->memory_bank});
        }
        if (top->memory_beat && access < commands.size()) ++commands[access].beats;
        if (top->read_taken) reads.push_back({cycles, top->read_address, top->read_len + 1u});
    }

    bool stalls() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return (random >> 48) < stall;
    }

    // The first half of a cycle: new inputs reach everything combinational, so that handshakes can be read.
    void settle() {
        Verilated::threadContextp(&context);
        if (!offered) offered = !input.empty() && !(stall && stalls());  // an offer stays until it is taken
        top->s_axis_tvalid = offered;
        if (offered) top->s_axis_tdata = input.front();
        top->m_axis_tready = !(stall && stalls());
        top->clk = 0;
        top->eval();
        dump(2 * cycles);
    }

    // The second half: handshakes on the streams happen at the rising edge.
    void edge() {
        if (top->s_axis_tvalid && top->s_axis_tready && !top->rst) {
            input.pop_front();
            offered = false;
        }
        if (top->m_axis_tvalid && top->m_axis_tready && !top->rst)
            output.push_back({static_cast<int32_t>(top->m_axis_tdata), static_cast<bool>(top->m_axis_tlast)});
        if (!top->rst) log_memory();
        top->clk = 1;
        top->eval();
        dump(2 * cycles + 1);
        ++cycles;
    }

    void tick() {
        settle();
        edge();
    }

    void dump(uint64_t time) {
#if VM_TRACE
        if (trace) trace->dump(time);
#else
        (void)time;
#endif
    }

    VerilatedContext context;
    std::unique_ptr<Vtestbench> top;
#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> trace;
#endif
    std::deque<uint8_t> input;
    std::deque<Result> output;
    uint64_t cycles = 0, random = 0;
    size_t access = SIZE_MAX;  // in `commands`, of the last READ or WRITE; SIZE_MAX: none
    uint32_t stall = 0;  // probability * 65536 of a stalled stream beat
    bool offered = false;
};

}  // namespace

extern "C" {

// Everything else is hidden: a process may load the libraries of several engines, which must not share their variables.
#pragma GCC visibility push(default)

Simulation* permfc_create(const char* waves) { return new Simulation{waves}; }
void permfc_destroy(Simulation* s) { delete s; }
void permfc_configure(Simulation* s, const Behaviour* behaviour) { s->configure(*behaviour); }
void permfc_reset(Simulation* s) { s->reset(); }
int permfc_load(Simulation* s, uint64_t address, const uint8_t* data, uint64_t count) { return s->load(address, data, count); }
int permfc_write_register(Simulation* s, uint32_t address, uint32_t value, uint64_t limit) {
    return s->write_register(address, value, limit);
}
int permfc_read_register(Simulation* s, uint32_t address, uint32_t* value, uint64_t limit) {
    return s->read_register(address, value, limit);
}
int64_t permfc_send(Simulation* s, const uint8_t* data, uint64_t count, uint64_t limit) { return s->send(data, count, limit); }
int permfc_wait(Simulation* s, uint32_t address, uint32_t busy, uint32_t* status, uint64_t limit) {
    return s->wait(address, busy, status, limit);
}
uint64_t permfc_receive(Simulation* s, int32_t* data, uint8_t* last, uint64_t count, uint64_t limit) {
    return s->receive(data, last, count, limit);
}
void permfc_discard_output(Simulation* s) { s->discard_output(); }
void permfc_run(Simulation* s, uint64_t count) { s->run(count); }
void permfc_counters(Simulation* s, Counters* counters) { *counters = s->counters(); }
int permfc_initialise(Simulation* s, uint64_t limit) { return s->initialise(limit); }
void permfc_memory_violation(Simulation* s, MemoryViolation* violation) { *violation = s->memory_violation(); }
uint64_t permfc_commands(Simulation* s, const PinCommand** first) {
    *first = s->commands.data();
    return s->commands.size();
}
uint64_t permfc_reads(Simulation* s, const BusRead** first) {
    *first = s->reads.data();
    return s->reads.size();
}
void permfc_forget_commands(Simulation* s) { s->forget_commands(); }
void permfc_forget_reads(Simulation* s) { s->reads.clear(); }

#pragma GCC visibility pop
}
