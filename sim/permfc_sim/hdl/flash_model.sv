// A quad serial flash at its pins (Winbond W25Q128JV data sheet, chapter 8): release from power-down (0xAB), volatile quad enable (0x50, 0x31),
// fast read quad I/O (0xEB) with continuous read. It starts in power-down and without quad enable, as an iCE40 leaves it. Pins are
// taken at the rising edge of SCK and change at the falling one; `clk` is there for the times alone, and for what is counted.
module flash_model #(
    parameter int BYTES = 1 << 24,
    parameter int T_RES = 144,     // release from power-down to the next command, in cycles of clk
    parameter int T_SHSL = 1       // chip select high
) (
    input  logic       clk,
    input  logic       sck,
    input  logic       cs_n,
    input  logic [3:0] io_i,
    input  logic [3:0] io_oe,      // of the controller
    output logic [3:0] io_o,

    output logic       read,       // in this cycle of clk the address of a read is complete
    output logic [23:0] address,
    output logic       beat,       // in this cycle data cross the pins
    output logic [5:0] broken      // one bit a rule, see permfc_sim/memories.py
);
    typedef enum logic [2:0] {INSTRUCTION, STATUS, ADDRESS, MODE, DUMMY, DATA, IGNORED} state_t;
    localparam logic [7:0] RELEASE = 8'hAB, VOLATILE = 8'h50, WRITE_STATUS_2 = 8'h31, READ_QUAD = 8'hEB, NOTHING = 8'hFF;
    localparam int DUMMY_CLOCKS = 4;

    logic [7:0]  words [0:BYTES-1] /*verilator public_flat_rw*/;

    state_t      state;
    logic [3:0]  count;              // clocks of this state so far
    logic [7:0]  shift, instruction;
    logic [24:0] halves;             // given so far
    logic [$clog2(BYTES)-1:0] at;
    logic        power_down = 1'b1, quad = 1'b0, continuous = 1'b0, may_write = 1'b0;
    logic        moved, unknown, no_quad, asleep;

    assign instruction = {shift[6:0], io_i[0]};
    always_ff @(posedge sck, posedge cs_n) begin
        if (cs_n) begin
            state <= continuous ? ADDRESS : INSTRUCTION;
            {count, moved, unknown, no_quad, asleep} <= '0;
        end else begin
            shift <= state == INSTRUCTION || state == STATUS ? instruction : {shift[3:0], io_i};
            count <= count + 1'b1;
            moved <= state == DATA;
            case (state)
                INSTRUCTION: if (count == 7) begin
                    count <= 0;
                    asleep <= power_down && instruction != RELEASE && instruction != NOTHING;
                    no_quad <= instruction == READ_QUAD && !quad;
                    unknown <= !(instruction inside {RELEASE, VOLATILE, WRITE_STATUS_2, READ_QUAD, NOTHING});
                    state <= instruction == READ_QUAD ? ADDRESS : instruction == WRITE_STATUS_2 ? STATUS : IGNORED;
                    if (instruction == RELEASE) power_down <= 1'b0;
                    may_write <= instruction == VOLATILE || (may_write && instruction == WRITE_STATUS_2);
                end
                STATUS: if (count == 7) begin
                    quad <= may_write ? instruction[1] : quad;
                    state <= IGNORED;
                end
                ADDRESS: if (count == 5) begin
                    count <= 0;
                    state <= MODE;
                end
                MODE: if (count == 1) begin
                    count <= 0;
                    continuous <= shift[1:0] == 2'b10;
                    state <= DUMMY;
                end
                DUMMY: if (count == DUMMY_CLOCKS - 1) state <= DATA;
                default: ;
            endcase
            if (state == ADDRESS) address <= {address[19:0], io_i};
        end
    end

    // High half of a byte first. The first half appears at the end of the last dummy clock.
    always_ff @(negedge sck, posedge cs_n) begin
        if (cs_n) halves <= '0;
        else if (state == DATA) begin
            io_o <= halves[0] ? words[at][3:0] : words[at][7:4];
            halves <= halves + 1'b1;
        end
    end
    assign at = $clog2(BYTES)'(address + halves[24:1]);

    assign read = sck_seen && state == DUMMY && count == 1;
    assign beat = sck_seen && moved;

    // In every cycle of clk: whether SCK has risen in it, and the rules.
    localparam logic [31:0] NEVER = -32'(1 << 24);  // a cycle long before the first
    logic        risen = 1'b0, seen = 1'b0, sck_seen, was_selected, was_down = 1'b1, selects;
    logic [31:0] now = 0, released = NEVER, deselected = NEVER;
    always_ff @(posedge sck) risen <= !risen;
    assign sck_seen = risen != seen;
    assign selects = !was_selected && !cs_n;
    always_ff @(posedge clk) begin
        seen <= risen;
        now <= now + 1;
        was_selected <= !cs_n;
        if (was_selected && cs_n) begin
            deselected <= now;
            was_down <= power_down;
            if (was_down && !power_down) released <= now;
        end
        broken[0] <= asleep && sck_seen;
        broken[1] <= selects && $signed(now - released) < T_RES;
        broken[2] <= selects && $signed(now - deselected) < T_SHSL;
        broken[3] <= no_quad && sck_seen;
        broken[4] <= unknown && sck_seen;
        broken[5] <= !cs_n && state == DATA && io_oe != 0;
    end
endmodule
