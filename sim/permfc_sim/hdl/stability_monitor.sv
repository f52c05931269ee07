// Watches one valid/ready channel: an offer must stay, unchanged, until it is taken.
module stability_monitor #(
    parameter int WIDTH = 32
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             valid,
    input  logic             ready,
    input  logic [WIDTH-1:0] payload,
    output logic             withdrawn,  // an offer that was not taken has disappeared
    output logic             changed     // an offer that was not taken has another payload
);
    logic             stalled;
    logic [WIDTH-1:0] offered;

    always_ff @(posedge clk) begin
        stalled <= valid && !ready && !rst;
        offered <= payload;
    end
    assign withdrawn = stalled && !valid && !rst;
    assign changed = stalled && valid && payload != offered && !rst;
endmodule
