// Stands in for the engine in benchmarks/memory.py: an input beat starts one sequential read of BYTES from address 0, in the longest bursts that
// AXI4 allows, several in flight, words taken at once. The engine's other ports are there, and still.
module permfc_engine #(
    parameter BUS_BITS = 32,
    parameter BYTES = 65536
) (
    input              clk,
    input              rst,

    output reg  [31:0] m_axi_araddr,
    output      [7:0]  m_axi_arlen,
    output      [2:0]  m_axi_arsize,
    output      [1:0]  m_axi_arburst,
    output             m_axi_arvalid,
    input              m_axi_arready,
    input  [BUS_BITS-1:0] m_axi_rdata,
    input       [1:0]  m_axi_rresp,
    input              m_axi_rlast,
    input              m_axi_rvalid,
    output             m_axi_rready,

    input       [7:0]  s_axi_awaddr,
    input              s_axi_awvalid,
    output             s_axi_awready,
    input       [31:0] s_axi_wdata,
    input       [3:0]  s_axi_wstrb,
    input              s_axi_wvalid,
    output             s_axi_wready,
    output      [1:0]  s_axi_bresp,
    output             s_axi_bvalid,
    input              s_axi_bready,
    input       [7:0]  s_axi_araddr,
    input              s_axi_arvalid,
    output             s_axi_arready,
    output      [31:0] s_axi_rdata,
    output      [1:0]  s_axi_rresp,
    output             s_axi_rvalid,
    input              s_axi_rready,

    input       [7:0]  s_axis_tdata,
    input              s_axis_tvalid,
    output             s_axis_tready,
    output      [31:0] m_axis_tdata,
    output             m_axis_tvalid,
    input              m_axis_tready,
    output             m_axis_tlast
);
    localparam WORD_BYTES = BUS_BITS / 8;
    localparam BURST_BYTES = 256 * WORD_BYTES > 4096 ? 4096 : 256 * WORD_BYTES;
    localparam IN_FLIGHT = 4;

    reg       reading;
    reg [2:0] in_flight;
    wire      accepted = m_axi_arvalid && m_axi_arready;
    wire      finished = m_axi_rvalid && m_axi_rlast;

    assign m_axi_arlen = BURST_BYTES / WORD_BYTES - 1;
    assign m_axi_arsize = $clog2(WORD_BYTES);
    assign m_axi_arburst = 1;
    assign m_axi_arvalid = reading && in_flight != IN_FLIGHT;
    assign m_axi_rready = 1;
    assign s_axis_tready = !reading;
    assign {s_axi_awready, s_axi_wready, s_axi_bresp, s_axi_bvalid, s_axi_arready, s_axi_rdata, s_axi_rresp, s_axi_rvalid} = 0;
    assign {m_axis_tdata, m_axis_tvalid, m_axis_tlast} = 0;

    always @(posedge clk) begin
        if (s_axis_tvalid && s_axis_tready) reading <= 1;
        if (accepted) begin
            m_axi_araddr <= m_axi_araddr + BURST_BYTES;
            if (m_axi_araddr + BURST_BYTES == BYTES) reading <= 0;
        end
        in_flight <= in_flight + accepted - finished;
        if (rst) begin
            reading <= 0;
            in_flight <= 0;
            m_axi_araddr <= 0;
        end
    end
endmodule
