// Counts broken rules and remembers the first one.
module violation_log #(
    parameter int RULES = 11
) (
    input  logic             clk,
    input  logic             rst,
    input  logic [RULES-1:0] broken,
    output logic [31:0]      violations,
    output logic [7:0]       first_rule,   // number of the rule from 1, 0 while none is broken
    output logic [63:0]      first_cycle   // cycles after reset
);
    logic [63:0] cycle;

    function automatic logic [7:0] lowest(input logic [RULES-1:0] rules);
        lowest = 0;
        for (int i = RULES - 1; i >= 0; i--) if (rules[i]) lowest = 8'(i + 1);
    endfunction

    always_ff @(posedge clk) begin
        cycle <= cycle + 1;
        if (broken != 0) begin
            violations <= violations + 32'($countones(broken));
            if (first_rule == 0) begin
                first_rule <= lowest(broken);
                first_cycle <= cycle;
            end
        end
        if (rst) {cycle, violations, first_rule, first_cycle} <= '0;
    end
endmodule
