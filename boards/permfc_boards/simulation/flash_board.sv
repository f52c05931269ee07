// A board with a QSPI flash: its complete top, `top`, and the memory model at its pins.
// The package memory_parameters is written for the part and its clock by permfc_sim/memories.py.
module testbench
    import memory_parameters::*;
(
    input  logic        clk,
    input  logic        rst,
    input  logic        uart_rx,
    output logic        uart_tx,
    output logic [31:0] violations,
    output logic [7:0]  first_rule,
    output logic [63:0] first_cycle
);
    logic       sck, cs_n;
    logic [3:0] to_memory, from_memory, oe;
    logic [5:0] broken;

    top board (
        .clk, .rst, .uart_0__rx__i(uart_rx), .uart_0__tx__o(uart_tx),
        .spi_flash_4x_0__clk__o(sck), .spi_flash_4x_0__cs__o(cs_n),
        .spi_flash_4x_0__dq__o(to_memory), .spi_flash_4x_0__dq__oe(oe), .spi_flash_4x_0__dq__i(from_memory)
    );

    flash_model #(.BYTES(BYTES), .T_RES(T_RES), .T_SHSL(T_SHSL)) memory (
        .clk, .sck, .cs_n, .io_i(to_memory), .io_oe(oe), .io_o(from_memory), .read(), .address(), .beat(), .broken
    );
    violation_log #(.RULES(6)) log (.clk, .rst, .broken, .violations, .first_rule, .first_cycle);
endmodule
