// The testbench's memory when it is a QSPI flash: our reader, `permfc_flash`, and the model at its pins.
// The package memory_parameters is written for the part and its clock by permfc_sim/memories.py. Latency, gaps and faults are those
// of an AXI memory without pins; they do nothing here.
module memory_system
    import memory_parameters::*;
#(
    parameter int DATA_BITS = 16,
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
    logic       cs_n, sck_en, read;
    logic [3:0] to_memory, from_memory, oe;
    logic [5:0] broken;
    logic [63:0] first_cycle;

    permfc_flash reader (
        .clk, .rst,
        .s_axi_araddr, .s_axi_arlen, .s_axi_arsize, .s_axi_arburst, .s_axi_arvalid, .s_axi_arready,
        .s_axi_rdata, .s_axi_rresp, .s_axi_rlast, .s_axi_rvalid, .s_axi_rready,
        .flash_cs_n(cs_n), .flash_sck_en(sck_en), .flash_io_o(to_memory), .flash_io_oe(oe), .flash_io_i(from_memory),
        .initialised
    );
    flash_model #(.BYTES(BYTES), .T_RES(T_RES), .T_SHSL(T_SHSL)) store (
        .clk, .sck(sck_en & ~clk), .cs_n, .io_i(to_memory), .io_oe(oe), .io_o(from_memory),
        .read, .address(column), .beat, .broken
    );
    violation_log #(.RULES(6)) log (.clk, .rst, .broken, .violations, .first_rule, .first_cycle);

    assign command = read ? sdram_commands::READ : sdram_commands::NOP;
    assign {bank, row} = '0;
    assign {earlier_command, later_command} = {2{sdram_commands::NOP}};
    assign earlier_cycle = first_cycle[31:0];
    assign later_cycle = first_cycle[31:0];
endmodule
