// The testbench's memory when it is an SDR SDRAM: our controller, `permfc_sdram`, and the model at its pins.
// The package memory_parameters is written for the part and its clock by permfc_sim/memories.py. Latency, gaps and faults are those
// of an AXI memory without pins; they do nothing here.
module memory_system
    import memory_parameters::*;
#(
    parameter int DATA_BITS = 32,
    parameter int WORDS = 1 << 16
) (
    input  logic                 clk,
    input  logic                 rst,

    input  logic [15:0]          latency,
    input  logic [15:0]          gap,
    input  logic [7:0]           outstanding,
    input  logic [31:0]          seed,
    input  logic [2:0]           fault,
    input  logic [31:0]          fault_address,

    input  logic [31:0]          s_axi_araddr,
    input  logic [7:0]           s_axi_arlen,
    input  logic [2:0]           s_axi_arsize,
    input  logic [1:0]           s_axi_arburst,
    input  logic                 s_axi_arvalid,
    output logic                 s_axi_arready,
    output logic [DATA_BITS-1:0] s_axi_rdata,
    output logic [1:0]           s_axi_rresp,
    output logic                 s_axi_rlast,
    output logic                 s_axi_rvalid,
    input  logic                 s_axi_rready,

    output logic                 initialised,
    output logic [3:0]           command,
    output logic [2:0]           bank,
    output logic [15:0]          row,
    output logic [23:0]          column,
    output logic                 beat,
    output logic [31:0]          violations,
    output logic [7:0]           first_rule,
    output logic [3:0]           earlier_command,
    output logic [31:0]          earlier_cycle,
    output logic [3:0]           later_command,
    output logic [31:0]          later_cycle
);
    logic               cke, cs_n, ras_n, cas_n, we_n, dq_oe;
    logic [1:0]         ba;
    logic [12:0]        a, opened_row;
    logic [WIDTH/8-1:0] dqm;
    logic [WIDTH-1:0]   dq_to_memory, dq_from_memory;

    permfc_sdram controller (
        .clk, .rst,
        .s_axi_araddr, .s_axi_arlen, .s_axi_arsize, .s_axi_arburst, .s_axi_arvalid, .s_axi_arready,
        .s_axi_rdata, .s_axi_rresp, .s_axi_rlast, .s_axi_rvalid, .s_axi_rready,
        .s_axi_awaddr('0), .s_axi_awlen('0), .s_axi_awsize('0), .s_axi_awburst('0), .s_axi_awvalid(1'b0), .s_axi_awready(),
        .s_axi_wdata('0), .s_axi_wstrb('0), .s_axi_wlast(1'b0), .s_axi_wvalid(1'b0), .s_axi_wready(),
        .s_axi_bresp(), .s_axi_bvalid(), .s_axi_bready(1'b0),
        .sdram_cke(cke), .sdram_cs_n(cs_n), .sdram_ras_n(ras_n), .sdram_cas_n(cas_n), .sdram_we_n(we_n), .sdram_ba(ba), .sdram_a(a),
        .sdram_dqm(dqm), .sdram_dq_o(dq_to_memory), .sdram_dq_oe(dq_oe), .sdram_dq_i(dq_from_memory),
        .initialised
    );

    logic [sdram_commands::RULES-1:0] broken;
    sdram_model #(
        .WIDTH(WIDTH), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS), .T_RCD(T_RCD), .T_RP(T_RP), .T_RAS(T_RAS), .T_RC(T_RC),
        .T_RRD(T_RRD), .T_RFC(T_RFC), .T_WR(T_WR), .T_REFI(T_REFI), .T_POWER_UP(T_POWER_UP), .LEAST_CAS(LEAST_CAS)
    ) store (
        .clk, .rst, .cke, .cs_n, .ras_n, .cas_n, .we_n, .ba, .a, .dqm, .dq_i(dq_to_memory), .dq_oe, .dq_o(dq_from_memory),
        .command, .row(opened_row), .beat, .broken, .earlier_command, .earlier_cycle, .later_command, .later_cycle
    );
    violation_log #(.RULES(sdram_commands::RULES)) log (.clk, .rst, .broken, .violations, .first_rule, .first_cycle());

    assign bank = 3'(ba);
    assign row = 16'(opened_row);
    assign column = 24'(a[COLUMN_BITS-1:0]);
endmodule
