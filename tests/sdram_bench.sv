// The SDRAM controller and the model at its pins, with PIN_DELAY registers between them: one on the way out, any other on the way back.
module sdram_bench #(
    parameter int DATA_BITS = 32,
    parameter int PIN_DELAY = 0,
    parameter int WIDTH = 16,
    parameter int ROW_BITS = 4,
    parameter int COLUMN_BITS = 6,
    parameter int T_RCD = 2,
    parameter int T_RP = 2,
    parameter int T_RAS = 5,
    parameter int T_RC = 7,
    parameter int T_RRD = 2,
    parameter int T_RFC = 7,
    parameter int T_WR = 2,
    parameter int T_REFI = 781,
    parameter int T_POWER_UP = 10000,
    parameter int LEAST_CAS = 2
) (
    input  logic                   clk,
    input  logic                   rst,
    input  logic [31:0]            s_axi_araddr, s_axi_awaddr,
    input  logic [7:0]             s_axi_arlen, s_axi_awlen,
    input  logic [2:0]             s_axi_arsize, s_axi_awsize,
    input  logic [1:0]             s_axi_arburst, s_axi_awburst,
    input  logic                   s_axi_arvalid, s_axi_awvalid,
    output logic                   s_axi_arready, s_axi_awready,
    output logic [DATA_BITS-1:0]   s_axi_rdata,
    output logic [1:0]             s_axi_rresp,
    output logic                   s_axi_rlast,
    output logic                   s_axi_rvalid,
    input  logic                   s_axi_rready,
    input  logic [DATA_BITS-1:0]   s_axi_wdata,
    input  logic [DATA_BITS/8-1:0] s_axi_wstrb,
    input  logic                   s_axi_wlast,
    input  logic                   s_axi_wvalid,
    output logic                   s_axi_wready,
    output logic [1:0]             s_axi_bresp,
    output logic                   s_axi_bvalid,
    input  logic                   s_axi_bready,
    output logic                   initialised,

    output logic [3:0]             command,
    output logic                   beat,
    output logic [31:0]            violations,
    output logic [7:0]             first_rule,
    output logic [3:0]             unstable     // R withdrawn, R changed, B withdrawn, B changed
);
    typedef struct packed {
        logic               cke, cs_n, ras_n, cas_n, we_n, dq_oe;
        logic [1:0]         ba;
        logic [12:0]        a;
        logic [WIDTH/8-1:0] dqm;
        logic [WIDTH-1:0]   dq;
    } pins_t;
    pins_t            driven, pins;
    logic [WIDTH-1:0] returned, captured;

    permfc_sdram controller (
        .clk, .rst, .s_axi_araddr, .s_axi_arlen, .s_axi_arsize, .s_axi_arburst, .s_axi_arvalid, .s_axi_arready,
        .s_axi_rdata, .s_axi_rresp, .s_axi_rlast, .s_axi_rvalid, .s_axi_rready,
        .s_axi_awaddr, .s_axi_awlen, .s_axi_awsize, .s_axi_awburst, .s_axi_awvalid, .s_axi_awready,
        .s_axi_wdata, .s_axi_wstrb, .s_axi_wlast, .s_axi_wvalid, .s_axi_wready, .s_axi_bresp, .s_axi_bvalid, .s_axi_bready,
        .sdram_cke(driven.cke), .sdram_cs_n(driven.cs_n), .sdram_ras_n(driven.ras_n), .sdram_cas_n(driven.cas_n), .sdram_we_n(driven.we_n),
        .sdram_ba(driven.ba), .sdram_a(driven.a), .sdram_dqm(driven.dqm), .sdram_dq_o(driven.dq), .sdram_dq_oe(driven.dq_oe),
        .sdram_dq_i(captured), .initialised
    );

    localparam int BACK = PIN_DELAY > 0 ? PIN_DELAY - 1 : 0;
    logic [WIDTH-1:0] back [0:BACK];
    pins_t            registered;
    always_ff @(posedge clk) begin
        registered <= driven;
        for (int i = 0; i < BACK; i++) back[i] <= i == 0 ? returned : back[i-1];
    end
    assign pins = PIN_DELAY > 0 ? registered : driven;
    assign captured = BACK > 0 ? back[BACK-1] : returned;

    logic [sdram_commands::RULES-1:0] broken;
    sdram_model #(
        .WIDTH(WIDTH), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS), .T_RCD(T_RCD), .T_RP(T_RP), .T_RAS(T_RAS), .T_RC(T_RC),
        .T_RRD(T_RRD), .T_RFC(T_RFC), .T_WR(T_WR), .T_REFI(T_REFI), .T_POWER_UP(T_POWER_UP), .LEAST_CAS(LEAST_CAS)
    ) store (
        .clk, .rst, .cke(pins.cke), .cs_n(pins.cs_n), .ras_n(pins.ras_n), .cas_n(pins.cas_n), .we_n(pins.we_n), .ba(pins.ba), .a(pins.a),
        .dqm(pins.dqm), .dq_i(pins.dq), .dq_oe(pins.dq_oe), .dq_o(returned), .command, .row(), .beat, .broken,
        .earlier_command(), .earlier_cycle(), .later_command(), .later_cycle()
    );
    violation_log #(.RULES(sdram_commands::RULES)) log (.clk, .rst, .broken, .violations, .first_rule, .first_cycle());

    stability_monitor #(.WIDTH(DATA_BITS + 3)) read_stability (
        .clk, .rst, .valid(s_axi_rvalid), .ready(s_axi_rready), .payload({s_axi_rdata, s_axi_rresp, s_axi_rlast}),
        .withdrawn(unstable[0]), .changed(unstable[1])
    );
    stability_monitor #(.WIDTH(2)) response_stability (
        .clk, .rst, .valid(s_axi_bvalid), .ready(s_axi_bready), .payload(s_axi_bresp), .withdrawn(unstable[2]), .changed(unstable[3])
    );
endmodule
