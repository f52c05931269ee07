// Watches the commands and the data bus of an SDR SDRAM of four banks; `broken` has one bit a rule, high in the cycle after
// the one that broke it. Times are in clocks. Sources: JEDEC JESD21-C 3.11.5 and the Micron 256Mb SDRAM data sheet,
// "Initialization", "Commands" and "AC electrical characteristics".
module sdram_rules
    import sdram_commands::*;
#(
    parameter int T_RCD = 2,
    parameter int T_RP = 2,
    parameter int T_RAS = 5,
    parameter int T_RC = 7,
    parameter int T_RRD = 2,
    parameter int T_RFC = 7,
    parameter int T_WR = 2,
    parameter int T_REFI = 781,
    parameter int T_POWER_UP = 10000,
    parameter int LEAST_CAS = 2          // smallest CAS latency that works at this clock
) (
    input  logic             clk,
    input  logic             rst,

    input  logic             cke,
    input  command_t         command,
    input  logic [1:0]       bank,
    input  logic [12:0]      a,
    input  logic             writes,       // this cycle's data pins are written
    input  logic [1:0]       burst_bank,
    input  logic             drives,       // the memory drives the data pins in this cycle
    input  logic             dq_oe,        // the controller drives them

    output logic [RULES-1:0] broken,
    output event_t           earlier,      // the two commands of the first rule that was broken; NOP: no command, only a cycle
    output event_t           later
);
    localparam int T_MRD = 2;
    localparam int MOST_POSTPONED = 8;     // REFRESH commands
    localparam logic [31:0] NEVER = -32'(1 << 24);  // a cycle long before reset

    logic [31:0] now, activated [0:3], precharged [0:3], written [0:3], last_activate, last_refresh, last_load, last_read;
    logic [3:0]  open;
    logic [1:0]  last_bank;
    logic        prepared, loaded, drove, reported;
    logic [1:0]  refreshes;                // after power-up; two are needed
    logic [31:0] interval;
    logic [3:0]  postponed;

    task automatic check(input rule_t rule, input logic is_broken, input command_t culprit, input logic [31:0] cycle);
        if (is_broken) begin
            broken[rule] <= 1'b1;
            if (!reported) begin
                earlier <= '{command: culprit, cycle: cycle};
                later <= '{command: command, cycle: now};
                reported = 1'b1;
            end
        end
    endtask

    function automatic logic sooner(input logic [31:0] since, input int limit);
        return $signed(now - since) < limit;
    endfunction

    function automatic logic is_lawful_mode(input logic [12:0] mode);
        return mode[12:10] == 0 && mode[8:7] == 0 && !mode[3] && (mode[2:0] <= 3 || mode[2:0] == 7) && (mode[6:4] == 2 || mode[6:4] == 3);
    endfunction

    task automatic check_any_command;
        check(POWER_UP, now < T_POWER_UP, NOP, 0);
        check(TRFC, sooner(last_refresh, T_RFC), REFRESH, last_refresh);
        check(TMRD, sooner(last_load, T_MRD), LOAD_MODE, last_load);
    endtask

    task automatic check_all_idle;
        check(INITIALISATION, !prepared, NOP, 0);
        for (int i = 0; i < 4; i++) begin
            check(NOT_IDLE, open[i], ACTIVATE, activated[i]);
            check(TRP, sooner(precharged[i], T_RP), PRECHARGE, precharged[i]);
        end
    endtask

    task automatic activate;
        check(INITIALISATION, !(prepared && loaded && refreshes == 2), NOP, 0);
        check(BANK_OPEN, open[bank], ACTIVATE, activated[bank]);
        check(TRP, sooner(precharged[bank], T_RP), PRECHARGE, precharged[bank]);
        check(TRC, sooner(activated[bank], T_RC), ACTIVATE, activated[bank]);
        check(TRRD, bank != last_bank && sooner(last_activate, T_RRD), ACTIVATE, last_activate);
        open[bank] <= 1'b1;
        activated[bank] <= now;
        last_activate <= now;
        last_bank <= bank;
    endtask

    task automatic access;
        check(BANK_CLOSED, !open[bank], PRECHARGE, precharged[bank] == NEVER ? 0 : precharged[bank]);
        check(TRCD, sooner(activated[bank], T_RCD), ACTIVATE, activated[bank]);
        check(AUTO_PRECHARGE, a[10], ACTIVATE, activated[bank]);
        if (command == READ) last_read <= now;
    endtask

    task automatic precharge(input logic [1:0] which);
        check(TRAS, open[which] && sooner(activated[which], T_RAS), ACTIVATE, activated[which]);
        check(TWR, open[which] && sooner(written[which], T_WR), WRITE, written[which]);
        if (open[which]) precharged[which] <= now;  // of a closed bank: no operation
        open[which] <= 1'b0;
    endtask

    task automatic refresh;
        check_all_idle();
        last_refresh <= now;
        if (refreshes != 2) refreshes <= refreshes + 1'b1;
        if (postponed != 0) postponed <= postponed - 1'b1;
    endtask

    task automatic load_mode;
        check_all_idle();
        check(MODE_VALUE, !is_lawful_mode(a), NOP, 0);
        check(CAS_LATENCY, is_lawful_mode(a) && 32'(a[6:4]) < LEAST_CAS, NOP, 0);
        last_load <= now;
        loaded <= 1'b1;
    endtask

    // Every T_REFI owes the memory one REFRESH; the debt is checked when it grows.
    task automatic count_interval;
        interval <= interval + 1;
        if (interval == T_REFI - 1) begin
            interval <= 0;
            postponed <= postponed + 4'(command != REFRESH);
            check(REFRESH_INTERVAL, postponed == MOST_POSTPONED && command != REFRESH, REFRESH, last_refresh);
            if (postponed == MOST_POSTPONED) postponed <= postponed;
        end
    endtask

    always_ff @(posedge clk) begin
        broken <= '0;
        now <= now + 1;
        drove <= drives;
        if (command != NOP) check_any_command();
        case (command)
            ACTIVATE: activate();
            READ, WRITE: access();
            PRECHARGE: precharge(bank);
            PRECHARGE_ALL: begin
                for (int i = 0; i < 4; i++) precharge(2'(i));
                prepared <= 1'b1;
            end
            REFRESH: refresh();
            LOAD_MODE: load_mode();
            default: ;
        endcase
        if (writes) written[burst_bank] <= now;
        // The memory lets go of the pins after the clock edge that ends its last word (tHZ): the controller leaves one cycle free.
        check(CONTENTION, dq_oe && (drives || drove), READ, last_read);
        check(NO_WRITE_DATA, writes && !dq_oe, WRITE, now);
        check(CLOCK_ENABLE, !cke && prepared, NOP, now);
        if (refreshes == 2) count_interval();

        if (rst) begin
            {now, interval, postponed, open, last_bank, refreshes} <= '0;
            {prepared, loaded, drove, broken, earlier, later} <= '0;
            reported = 1'b0;
            {last_activate, last_refresh, last_load, last_read} <= {4{NEVER}};
            for (int i = 0; i < 4; i++) {activated[i], precharged[i], written[i]} <= {3{NEVER}};
        end
    end
endmodule
