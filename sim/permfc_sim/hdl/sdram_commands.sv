// Commands of an SDR SDRAM and the rules of their use, shared by the model and its checker.
package sdram_commands;
    // Values up to LOAD_MODE are those of permfc.memory.trace.Command.
    typedef enum logic [3:0] {
        ACTIVATE, READ, WRITE, PRECHARGE, PRECHARGE_ALL, REFRESH, LOAD_MODE, BURST_TERMINATE, NOP
    } command_t;

    typedef struct packed {
        command_t    command;
        logic [31:0] cycle;  // cycles after reset
    } event_t;

    // Numbers from 0; their sentences are in permfc_sim/memories.py, in this order.
    typedef enum int {
        POWER_UP, INITIALISATION, TRCD, TRP, TRAS, TRC, TRRD, TRFC, TMRD, TWR, REFRESH_INTERVAL,
        BANK_OPEN, BANK_CLOSED, NOT_IDLE, MODE_VALUE, CAS_LATENCY, CONTENTION, NO_WRITE_DATA, AUTO_PRECHARGE, CLOCK_ENABLE, RULES
    } rule_t;

    // Truth table of every SDR SDRAM (Micron 256Mb SDRAM data sheet, "Commands").
    function automatic command_t decode(input logic cs_n, input logic ras_n, input logic cas_n, input logic we_n, input logic a10);
        if (cs_n) return NOP;
        case ({ras_n, cas_n, we_n})
            3'b011: return ACTIVATE;
            3'b101: return READ;
            3'b100: return WRITE;
            3'b110: return BURST_TERMINATE;
            3'b010: return a10 ? PRECHARGE_ALL : PRECHARGE;
            3'b001: return REFRESH;
            3'b000: return LOAD_MODE;
            default: return NOP;
        endcase
    endfunction
endpackage
