// The engine with a memory behind its AXI4 master and a monitor on every channel. The host's side, AXI4-Lite and the two
// streams, are pins under the engine's own names, so that C++ or cocotb can drive them. The module `memory_system` is the one
// of the memory_*.sv that this testbench is built with.
module testbench #(
    parameter int DATA_BITS = 32,
    parameter int WORDS = 1 << 16,
    parameter int OUTSTANDING = 8
) (
    input  logic        clk,
    input  logic        rst,

    input  logic [15:0] memory_latency,
    input  logic [15:0] memory_gap,
    input  logic [7:0]  memory_outstanding,
    input  logic [31:0] memory_seed,
    input  logic [2:0]  memory_fault,
    input  logic [31:0] memory_fault_address,

    output logic        memory_initialised,
    output logic [3:0]  memory_command,          // at the memory's pins, a value of sdram_commands::command_t
    output logic [2:0]  memory_bank,
    output logic [15:0] memory_row,
    output logic [23:0] memory_column,
    output logic        memory_beat,             // the last READ or WRITE moves a word at the pins
    output logic [31:0] memory_violations,
    output logic [7:0]  memory_first_rule,       // from 1, 0 while none is broken
    output logic [3:0]  memory_earlier_command,  // the two commands that broke it
    output logic [31:0] memory_earlier_cycle,
    output logic [3:0]  memory_later_command,
    output logic [31:0] memory_later_cycle,

    output logic        read_taken,              // an AR handshake
    output logic [31:0] read_address,
    output logic [7:0]  read_len,

    output logic [31:0] bursts,
    output logic [31:0] beats,
    output logic [8:0]  in_flight,
    output logic [8:0]  most_in_flight,
    output logic [31:0] violations,
    output logic [7:0]  first_rule,
    output logic [63:0] first_cycle,

    input  logic [7:0]  s_axi_awaddr,
    input  logic        s_axi_awvalid,
    output logic        s_axi_awready,
    input  logic [31:0] s_axi_wdata,
    input  logic [3:0]  s_axi_wstrb,
    input  logic        s_axi_wvalid,
    output logic        s_axi_wready,
    output logic [1:0]  s_axi_bresp,
    output logic        s_axi_bvalid,
    input  logic        s_axi_bready,
    input  logic [7:0]  s_axi_araddr,
    input  logic        s_axi_arvalid,
    output logic        s_axi_arready,
    output logic [31:0] s_axi_rdata,
    output logic [1:0]  s_axi_rresp,
    output logic        s_axi_rvalid,
    input  logic        s_axi_rready,

    input  logic [7:0]  s_axis_tdata,
    input  logic        s_axis_tvalid,
    output logic        s_axis_tready,
    output logic [31:0] m_axis_tdata,
    output logic        m_axis_tvalid,
    input  logic        m_axis_tready,
    output logic        m_axis_tlast
);
    logic [31:0]          m_axi_araddr;
    logic [7:0]           m_axi_arlen;
    logic [2:0]           m_axi_arsize;
    logic [1:0]           m_axi_arburst;
    logic                 m_axi_arvalid, m_axi_arready;
    logic [DATA_BITS-1:0] m_axi_rdata;
    logic [1:0]           m_axi_rresp;
    logic                 m_axi_rlast, m_axi_rvalid, m_axi_rready;

    permfc_engine engine (.*);

    memory_system #(.DATA_BITS(DATA_BITS), .WORDS(WORDS)) memory (
        .clk, .rst,
        .latency(memory_latency), .gap(memory_gap), .outstanding(memory_outstanding), .seed(memory_seed),
        .fault(memory_fault), .fault_address(memory_fault_address),
        .s_axi_araddr(m_axi_araddr), .s_axi_arlen(m_axi_arlen), .s_axi_arsize(m_axi_arsize), .s_axi_arburst(m_axi_arburst),
        .s_axi_arvalid(m_axi_arvalid), .s_axi_arready(m_axi_arready),
        .s_axi_rdata(m_axi_rdata), .s_axi_rresp(m_axi_rresp), .s_axi_rlast(m_axi_rlast), .s_axi_rvalid(m_axi_rvalid),
        .s_axi_rready(m_axi_rready),
        .initialised(memory_initialised), .command(memory_command), .bank(memory_bank), .row(memory_row), .column(memory_column),
        .beat(memory_beat), .violations(memory_violations), .first_rule(memory_first_rule),
        .earlier_command(memory_earlier_command), .earlier_cycle(memory_earlier_cycle),
        .later_command(memory_later_command), .later_cycle(memory_later_cycle)
    );
    assign read_taken = m_axi_arvalid && m_axi_arready && !rst;
    assign read_address = m_axi_araddr;
    assign read_len = m_axi_arlen;

    logic [16:0] broken;
    axi_monitor #(.DATA_BITS(DATA_BITS), .OUTSTANDING(OUTSTANDING)) monitor (
        .clk, .rst,
        .axi_araddr(m_axi_araddr), .axi_arlen(m_axi_arlen), .axi_arsize(m_axi_arsize), .axi_arburst(m_axi_arburst),
        .axi_arvalid(m_axi_arvalid), .axi_arready(m_axi_arready),
        .axi_rdata(m_axi_rdata), .axi_rresp(m_axi_rresp), .axi_rlast(m_axi_rlast), .axi_rvalid(m_axi_rvalid),
        .axi_rready(m_axi_rready),
        .broken(broken[10:0]), .bursts, .beats, .in_flight, .most_in_flight
    );
    stability_monitor #(.WIDTH(33)) output_stability (
        .clk, .rst, .valid(m_axis_tvalid), .ready(m_axis_tready), .payload({m_axis_tdata, m_axis_tlast}),
        .withdrawn(broken[11]), .changed(broken[12])
    );
    stability_monitor #(.WIDTH(34)) register_read_stability (
        .clk, .rst, .valid(s_axi_rvalid), .ready(s_axi_rready), .payload({s_axi_rdata, s_axi_rresp}),
        .withdrawn(broken[13]), .changed(broken[14])
    );
    stability_monitor #(.WIDTH(2)) register_write_stability (
        .clk, .rst, .valid(s_axi_bvalid), .ready(s_axi_bready), .payload(s_axi_bresp),
        .withdrawn(broken[15]), .changed(broken[16])
    );
    violation_log #(.RULES(17)) log (.clk, .rst, .broken, .violations, .first_rule, .first_cycle);
endmodule
