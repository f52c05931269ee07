// A C interface around the Verilated top of a board: its clock, its serial line, the contents of its memory.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

#include "Vtestbench.h"
#include "Vtestbench___024root.h"
#include "verilated.h"

namespace {

constexpr int RESET_CYCLES = 8;
constexpr int BITS = 10;  // start, eight of data, stop

// The host's end of the serial line, with a clock of its own: `bit` is the length of a bit in cycles of the board, any fraction.
struct Uart {
    double bit = 0;
    std::deque<uint8_t> to_board, from_board;
    uint64_t broken = 0;  // bytes from the board without a stop bit

    // The level that the board receives in this cycle.
    bool drive(uint64_t now) {
        if (sending && now >= frame_begin + BITS * bit) sending = false;
        if (!sending && !to_board.empty()) {
            frame = 1u << 9 | to_board.front() << 1;
            to_board.pop_front();
            frame_begin = frame_begin + BITS * bit > now - 1.0 ? frame_begin + BITS * bit : now;  // back to back, without rounding
            sending = true;
        }
        return sending && now >= frame_begin ? frame >> static_cast<int>((now - frame_begin) / bit) & 1 : true;
    }

    void sample(uint64_t now, bool level) {
        if (!receiving && !level) {
            receiving = true, bits = 0, byte = 0;
            next_sample = now + bit / 2;
        }
        if (!receiving || now < next_sample) return;
        next_sample += bit;
        if (bits == 0 && level) receiving = false;  // a glitch
        if (bits >= 1 && bits <= 8) byte |= level << (bits - 1);
        if (bits == 9) {
            receiving = false;
            if (level) from_board.push_back(byte);
            else ++broken;
        }
        ++bits;
    }

    bool quiet() const { return !sending && !receiving && to_board.empty(); }

private:
    bool sending = false, receiving = false;
    uint32_t frame = 0;
    double frame_begin = -1e9, next_sample = 0;
    int bits = 0;
    uint8_t byte = 0;
};

struct State {
    uint64_t cycles, broken, violations, first_rule, first_cycle, quiet;
};

class Board {
public:
    explicit Board(double bit) : top{new Vtestbench{&context}} {
        const char* arguments[] = {"permfc"};
        context.commandArgs(1, arguments);
        uart.bit = bit;
        reset();
    }

    ~Board() {
        Verilated::threadContextp(&context);
        top->final();
    }

    void reset() {
        top->rst = 1;
        run(RESET_CYCLES);
        top->rst = 0;
        uart.to_board.clear();
        uart.from_board.clear();
    }

    void run(uint64_t count) {
        Verilated::threadContextp(&context);
        for (uint64_t end = cycles + count; cycles < end; ++cycles) {
            top->uart_rx = uart.drive(cycles);
            top->clk = 1;
            top->eval();
            top->clk = 0;
            top->eval();
            uart.sample(cycles, top->uart_tx);
        }
    }

    bool load(uint64_t address, const uint8_t* data, uint64_t count) {
        auto& words = top->rootp->testbench__DOT__memory__DOT__words;
        if (address > sizeof words || count > sizeof words - address) return false;
        std::memcpy(reinterpret_cast<uint8_t*>(&words) + address, data, count);
        return true;
    }

    State state() const { return {cycles, uart.broken, top->violations, top->first_rule, top->first_cycle, uart.quiet()}; }

    Uart uart;

private:
    VerilatedContext context;
    std::unique_ptr<Vtestbench> top;
    uint64_t cycles = 0;
};

}  // namespace

extern "C" {

#pragma GCC visibility push(default)

Board* board_create(double bit) { return new Board{bit}; }
void board_destroy(Board* board) { delete board; }
void board_reset(Board* board) { board->reset(); }
void board_run(Board* board, uint64_t cycles) { board->run(cycles); }
int board_load(Board* board, uint64_t address, const uint8_t* data, uint64_t count) { return board->load(address, data, count); }
void board_state(Board* board, State* state) { *state = board->state(); }
void board_send(Board* board, const uint8_t* data, uint64_t count) {
    board->uart.to_board.insert(board->uart.to_board.end(), data, data + count);
}
uint64_t board_receive(Board* board, uint8_t* data, uint64_t most) {
    auto& bytes = board->uart.from_board;
    uint64_t count = bytes.size() < most ? bytes.size() : most;
    std::copy(bytes.begin(), bytes.begin() + count, data);
    bytes.erase(bytes.begin(), bytes.begin() + count);
    return count;
}

#pragma GCC visibility pop
}
