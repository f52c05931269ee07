// An SDR SDRAM of four banks at its pins. Commands, masks and written data are taken at the rising clock edge; a word read by a READ
// at edge n is on `dq_o` before edge n + CAS latency. Contents are in the order {row, bank, column}, so a controller that maps
// addresses like this sees them as one array, which C++ fills. Auto precharge and power-down are reported, not modelled.
module sdram_model
    import sdram_commands::*;
#(
    parameter int WIDTH = 16,
    parameter int ROW_BITS = 13,
    parameter int COLUMN_BITS = 9,
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
    input  logic                clk,
    input  logic                rst,       // as power-up, but the contents stay

    input  logic                cke,
    input  logic                cs_n,
    input  logic                ras_n,
    input  logic                cas_n,
    input  logic                we_n,
    input  logic [1:0]          ba,
    input  logic [12:0]         a,
    input  logic [WIDTH/8-1:0]  dqm,
    input  logic [WIDTH-1:0]    dq_i,
    input  logic                dq_oe,     // of the controller
    output logic [WIDTH-1:0]    dq_o,

    output logic [3:0]          command,   // a command_t, taken at the end of this cycle
    output logic [12:0]         row,       // that it opens or uses
    output logic                beat,      // the last READ or WRITE, or the one of this cycle, moves a word

    output logic [RULES-1:0]    broken,    // see sdram_rules
    output logic [3:0]          earlier_command,
    output logic [31:0]         earlier_cycle,
    output logic [3:0]          later_command,
    output logic [31:0]         later_cycle
);
    localparam logic [WIDTH-1:0] NOT_DRIVEN = {(WIDTH / 8){8'hA5}};  // what nobody should use

    logic [WIDTH-1:0] words [0:(1 << (ROW_BITS + 2 + COLUMN_BITS)) - 1] /*verilator public_flat_rw*/;

    command_t                 taken;
    logic [12:0]              rows [0:3];
    logic [2:0]               burst_code, cas;
    logic                     single_writes;
    logic                     going, writing;  // a burst goes on after this cycle's beat
    logic [1:0]               burst_bank;
    logic [COLUMN_BITS-1:0]   column, next_column, length_mask;
    logic [COLUMN_BITS-1:0]   left;
    logic                     access, stops, writes;
    logic [1:0]               beat_bank;
    logic [COLUMN_BITS-1:0]   beat_column;
    logic [ROW_BITS+COLUMN_BITS+1:0] index;

    assign taken = decode(cs_n, ras_n, cas_n, we_n, a[10]);
    assign command = taken;
    assign row = taken == ACTIVATE ? a : rows[ba];
    assign access = taken == READ || taken == WRITE;
    assign stops = taken == BURST_TERMINATE || taken == PRECHARGE_ALL || (taken == PRECHARGE && ba == burst_bank);
    assign beat = access || (going && !stops);
    assign writes = access ? taken == WRITE : going && !stops && writing;
    assign beat_bank = access ? ba : burst_bank;
    assign beat_column = access ? a[COLUMN_BITS-1:0] : column;
    assign index = {rows[beat_bank][ROW_BITS-1:0], beat_bank, beat_column};
    // A burst stays in its aligned stretch of 1, 2, 4 or 8 columns, or in its row (code 7).
    assign length_mask = burst_code == 7 ? '1 : COLUMN_BITS'((1 << burst_code) - 1);
    assign next_column = (beat_column & ~length_mask) | ((beat_column + 1'b1) & length_mask);

    always_ff @(posedge clk) begin
        if (taken == ACTIVATE) rows[ba] <= a;
        if (taken == LOAD_MODE) {single_writes, cas, burst_code} <= {a[9], a[6:4], a[2:0]};
        if (access) begin
            burst_bank <= ba;
            writing <= taken == WRITE;
            left <= length_mask;
        end
        if (beat) begin
            column <= next_column;
            if (!access && burst_code != 7) left <= left - 1'b1;
        end
        if (stops) going <= 1'b0;
        else if (access) going <= length_mask != 0 && !(taken == WRITE && single_writes);
        else if (left == 1 && burst_code != 7) going <= 1'b0;

        if (writes) for (int i = 0; i < WIDTH / 8; i++) if (!dqm[i]) words[index][8*i+:8] <= dq_i[8*i+:8];
        if (rst) {going, writing, single_writes, cas, burst_code} <= '0;
    end

    // Words on their way to the pins, and masks: DQM acts on reads two cycles later (data sheet, "DQM").
    logic [WIDTH-1:0]   pipe [0:2];
    logic [2:0]         valid;
    logic [WIDTH/8-1:0] mask [0:1];
    logic               drives;
    always_ff @(posedge clk) begin
        pipe[0] <= words[index];
        pipe[1] <= pipe[0];
        pipe[2] <= pipe[1];
        valid <= {valid[1:0], beat && !writes};
        mask[0] <= dqm;
        mask[1] <= mask[0];
        if (rst) valid <= '0;
    end
    assign drives = cas == 3 ? valid[2] : cas == 2 && valid[1];
    always_comb begin
        dq_o = NOT_DRIVEN;
        if (drives) for (int i = 0; i < WIDTH / 8; i++) if (!mask[1][i]) dq_o[8*i+:8] = cas == 3 ? pipe[2][8*i+:8] : pipe[1][8*i+:8];
    end

    event_t earlier, later;
    sdram_rules #(
        .T_RCD(T_RCD), .T_RP(T_RP), .T_RAS(T_RAS), .T_RC(T_RC), .T_RRD(T_RRD), .T_RFC(T_RFC), .T_WR(T_WR), .T_REFI(T_REFI),
        .T_POWER_UP(T_POWER_UP), .LEAST_CAS(LEAST_CAS)
    ) rules (
        .clk, .rst, .cke, .command(taken), .bank(ba), .a, .writes, .burst_bank(beat_bank), .drives(drives && mask[1] != '1), .dq_oe,
        .broken, .earlier, .later
    );
    assign {earlier_command, earlier_cycle} = earlier;
    assign {later_command, later_cycle} = later;
endmodule
