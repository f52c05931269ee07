// The testbench's memory when nothing lies between bus and array: an AXI4 memory of set latency, without commands and pins.
module memory_system #(
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
    axi_memory #(.DATA_BITS(DATA_BITS), .WORDS(WORDS)) store (.*);

    assign initialised = 1'b1;
    assign command = sdram_commands::NOP;
    assign {bank, row, column, beat, violations, first_rule} = '0;
    assign {earlier_command, earlier_cycle, later_command, later_cycle} = '0;
endmodule
