// Watches an AXI4 read channel without touching it; `broken` has one bit a rule, high for the cycle in which it is broken.
// The rules are those of the AXI4 specification (ARM IHI 0022, A3.2 and A3.4) and of the engine's memory contract:
// whole-word beats, aligned, INCR, at most OUTSTANDING reads in flight. ARLEN has 8 bits, so 256 beats are never exceeded.
module axi_monitor #(
    parameter int DATA_BITS = 32,
    parameter int OUTSTANDING = 8
) (
    input  logic                 clk,
    input  logic                 rst,

    input  logic [31:0]          axi_araddr,
    input  logic [7:0]           axi_arlen,
    input  logic [2:0]           axi_arsize,
    input  logic [1:0]           axi_arburst,
    input  logic                 axi_arvalid,
    input  logic                 axi_arready,
    input  logic [DATA_BITS-1:0] axi_rdata,
    input  logic [1:0]           axi_rresp,
    input  logic                 axi_rlast,
    input  logic                 axi_rvalid,
    input  logic                 axi_rready,

    output logic [10:0]          broken,
    output logic [31:0]          bursts,      // AR handshakes
    output logic [31:0]          beats,       // R handshakes
    output logic [8:0]           in_flight,
    output logic [8:0]           most_in_flight
);
    localparam int WORD_SHIFT = $clog2(DATA_BITS / 8);
    localparam int SLOTS = 256;
    localparam logic [1:0] INCR = 2'b01;

    logic [7:0]  lens [0:SLOTS-1];
    logic [7:0]  head, tail, beat;
    logic        ar_fire, r_fire, r_known, r_done;
    logic [31:0] last_byte;

    assign ar_fire = axi_arvalid && axi_arready && !rst;
    assign r_fire = axi_rvalid && axi_rready && !rst;
    assign r_known = r_fire && in_flight != 0;
    assign r_done = r_known && beat == lens[head];
    assign last_byte = axi_araddr + (32'(axi_arlen) << WORD_SHIFT) + (1 << WORD_SHIFT) - 1;

    stability_monitor #(.WIDTH(45)) address_stability (
        .clk, .rst, .valid(axi_arvalid), .ready(axi_arready),
        .payload({axi_araddr, axi_arlen, axi_arsize, axi_arburst}), .withdrawn(broken[0]), .changed(broken[1])
    );
    assign broken[2] = ar_fire && axi_arburst != INCR;
    assign broken[3] = ar_fire && axi_arsize != 3'(WORD_SHIFT);
    assign broken[4] = ar_fire && (axi_araddr & 32'((1 << WORD_SHIFT) - 1)) != 0;
    assign broken[5] = ar_fire && last_byte[31:12] != axi_araddr[31:12];
    assign broken[6] = ar_fire && in_flight - 9'(r_done) >= 9'(OUTSTANDING);
    stability_monitor #(.WIDTH(DATA_BITS + 3)) data_stability (
        .clk, .rst, .valid(axi_rvalid), .ready(axi_rready),
        .payload({axi_rdata, axi_rresp, axi_rlast}), .withdrawn(broken[7]), .changed(broken[8])
    );
    assign broken[9] = r_known && axi_rlast != (beat == lens[head]);
    assign broken[10] = axi_rvalid && in_flight == 0 && !rst;

    always_ff @(posedge clk) begin
        bursts <= bursts + 32'(ar_fire);
        beats <= beats + 32'(r_fire);
        in_flight <= in_flight + 9'(ar_fire) - 9'(r_done);
        if (in_flight > most_in_flight) most_in_flight <= in_flight;
        if (ar_fire) lens[tail] <= axi_arlen;
        tail <= tail + 8'(ar_fire);
        head <= head + 8'(r_done);
        if (r_known) beat <= r_done ? 8'd0 : beat + 1'b1;
        if (rst) {bursts, beats, in_flight, most_in_flight, head, tail, beat} <= '0;
    end
endmodule
