// The flash reader and the model at its pins, with PIN_DELAY registers between them: one on the way out, any other on the way back.
// Resetting the reader does not reset the flash.
module flash_bench #(
    parameter int DATA_BITS = 16,
    parameter int PIN_DELAY = 0,
    parameter int BYTES = 4096,
    parameter int T_RES = 144,
    parameter int T_SHSL = 1
) (
    input  logic                 clk,
    input  logic                 rst,
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

    output logic                 read,
    output logic                 beat,
    output logic [5:0]           broken,
    output logic [1:0]           unstable  // R withdrawn, R changed
);
    typedef struct packed {
        logic       cs_n, sck_en;
        logic [3:0] io, oe;
    } pins_t;
    pins_t      driven, pins, registered;
    logic [3:0] returned, captured;

    permfc_flash reader (
        .clk, .rst, .s_axi_araddr, .s_axi_arlen, .s_axi_arsize, .s_axi_arburst, .s_axi_arvalid, .s_axi_arready,
        .s_axi_rdata, .s_axi_rresp, .s_axi_rlast, .s_axi_rvalid, .s_axi_rready,
        .flash_cs_n(driven.cs_n), .flash_sck_en(driven.sck_en), .flash_io_o(driven.io), .flash_io_oe(driven.oe), .flash_io_i(captured),
        .initialised
    );

    localparam int BACK = PIN_DELAY > 0 ? PIN_DELAY - 1 : 0;
    logic [3:0] back [0:BACK];
    initial registered = '{cs_n: 1'b1, default: '0};
    always_ff @(posedge clk) begin
        registered <= driven;
        for (int i = 0; i < BACK; i++) back[i] <= i == 0 ? returned : back[i-1];
    end
    assign pins = PIN_DELAY > 0 ? registered : driven;
    assign captured = BACK > 0 ? back[BACK-1] : returned;

    flash_model #(.BYTES(BYTES), .T_RES(T_RES), .T_SHSL(T_SHSL)) store (
        .clk, .sck(pins.sck_en & ~clk), .cs_n(pins.cs_n), .io_i(pins.io), .io_oe(pins.oe), .io_o(returned),
        .read, .address(), .beat, .broken
    );
    stability_monitor #(.WIDTH(DATA_BITS + 3)) stability (
        .clk, .rst, .valid(s_axi_rvalid), .ready(s_axi_rready), .payload({s_axi_rdata, s_axi_rresp, s_axi_rlast}),
        .withdrawn(unstable[0]), .changed(unstable[1])
    );
endmodule
