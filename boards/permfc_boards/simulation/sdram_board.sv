// A board with an SDR SDRAM: its complete top, `top`, and the memory model at its pins.
// The package memory_parameters is written for the part and its clock by permfc_sim/memories.py.
module testbench
    import memory_parameters::*;
(
    input  logic        clk,
    input  logic        rst,
    input  logic        uart_rx,
    output logic        uart_tx,
    output logic [31:0] violations,
    output logic [7:0]  first_rule,
    output logic [63:0] first_cycle
);
    logic               memory_clk, cke, cs_n, ras_n, cas_n, we_n, dq_oe;
    logic [1:0]         ba;
    logic [12:0]        a;
    logic [WIDTH/8-1:0] dqm;
    logic [WIDTH-1:0]   dq_to_memory, dq_from_memory, dq_late;

    // Data reach the FPGA more than a cycle of 10 ns after the memory's clock edge leaves it: 6 ns of access time (tAC), and pads and traces twice.
    always_ff @(posedge memory_clk) dq_late <= dq_from_memory;

    top board (
        .clk, .rst, .uart_0__rx__i(uart_rx), .uart_0__tx__o(uart_tx),
        .sdram_0__clk__o(memory_clk), .sdram_0__clk_en__o(cke), .sdram_0__cs__o(cs_n), .sdram_0__ras__o(ras_n), .sdram_0__cas__o(cas_n),
        .sdram_0__we__o(we_n), .sdram_0__ba__o(ba), .sdram_0__a__o(a), .sdram_0__dqm__o(dqm),
        .sdram_0__dq__o(dq_to_memory), .sdram_0__dq__oe(dq_oe), .sdram_0__dq__i(dq_late)
    );

    logic [sdram_commands::RULES-1:0] broken;
    sdram_model #(
        .WIDTH(WIDTH), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS), .T_RCD(T_RCD), .T_RP(T_RP), .T_RAS(T_RAS), .T_RC(T_RC),
        .T_RRD(T_RRD), .T_RFC(T_RFC), .T_WR(T_WR), .T_REFI(T_REFI), .T_POWER_UP(T_POWER_UP), .LEAST_CAS(LEAST_CAS)
    ) memory (
        .clk(memory_clk), .rst, .cke, .cs_n, .ras_n, .cas_n, .we_n, .ba, .a, .dqm, .dq_i(dq_to_memory), .dq_oe, .dq_o(dq_from_memory),
        .command(), .row(), .beat(), .broken, .earlier_command(), .earlier_cycle(), .later_command(), .later_cycle()
    );
    violation_log #(.RULES(sdram_commands::RULES)) log (.clk(memory_clk), .rst, .broken, .violations, .first_rule, .first_cycle);
endmodule
