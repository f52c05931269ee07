// An AXI4 read slave that behaves like a memory controller: every read has a latency, latencies of reads in flight
// overlap, data come in order, one beat a cycle unless a random gap intervenes.
// Beats outside the array answer DECERR. Contents come from C++ (the array is public) or from +memory=FILE ($readmemh).
module axi_memory #(
    parameter int DATA_BITS = 32,
    parameter int WORDS = 1 << 16,
    parameter int MOST_OUTSTANDING = 64  // power of two
) (
    input  logic                 clk,
    input  logic                 rst,

    input  logic [15:0]          latency,        // cycles from the AR handshake to the earliest R handshake, at least 2
    input  logic [15:0]          gap,            // probability * 65536 of a stalled AR and of a missing R beat, each cycle
    input  logic [7:0]           outstanding,    // reads accepted and not finished, 1 to MOST_OUTSTANDING
    input  logic [31:0]          seed,           // of the gaps, taken at reset, any value
    input  logic [2:0]           fault,          // at fault_address: 0 none, 1 SLVERR, 2 silence from there on, 3 RLAST is what it should
                                                 // not be, 4 the read ends there, though it has further beats
    input  logic [31:0]          fault_address,

    input  logic [31:0]          s_axi_araddr,
    input  logic [7:0]           s_axi_arlen,
    input  logic                 s_axi_arvalid,
    output logic                 s_axi_arready,
    output logic [DATA_BITS-1:0] s_axi_rdata,
    output logic [1:0]           s_axi_rresp,
    output logic                 s_axi_rlast,
    output logic                 s_axi_rvalid,
    input  logic                 s_axi_rready
);
    localparam int WORD_SHIFT = $clog2(DATA_BITS / 8);
    localparam int SLOT_BITS = $clog2(MOST_OUTSTANDING);
    localparam logic [2:0] FAULT_ERROR = 3'd1, FAULT_SILENCE = 3'd2, FAULT_LAST = 3'd3, FAULT_CUT = 3'd4;
    localparam logic [1:0] OKAY = 2'b00, SLVERR = 2'b10, DECERR = 2'b11;

    typedef struct packed {
        logic [31:0] word;
        logic [7:0]  len;
        logic [31:0] due;  // cycle of the earliest R handshake
    } read_t;

    logic [DATA_BITS-1:0] words [0:WORDS-1] /*verilator public_flat_rw*/;

    string file;
    initial if ($value$plusargs("memory=%s", file)) $readmemh(file, words);

    read_t                reads [0:MOST_OUTSTANDING-1];
    logic [SLOT_BITS-1:0] head, tail;
    logic [7:0]           waiting;    // reads whose last beat is not on the R channel yet
    logic [7:0]           in_flight;  // reads whose last beat was not taken yet
    logic [7:0]           beat;
    logic [31:0]          now, random;
    logic                 ar_open;

    // Stalls of AR take the low half of the random word and gaps of R the high half, so that they do not coincide.
    function automatic logic [31:0] xorshift(input logic [31:0] value);
        logic [31:0] a, b;
        a = value ^ (value << 13);
        b = a ^ (a >> 17);
        return b ^ (b << 5);
    endfunction

    read_t       current;
    logic [31:0] word;
    logic        due, faulty, silent, load, last, ending, ar_fire, r_done;
    always_comb begin
        current = reads[head];
        word = current.word + 32'(beat);
        faulty = word == fault_address >> WORD_SHIFT;
        last = beat == current.len || fault == FAULT_CUT && faulty;
        due = waiting != 0 && $signed(current.due - now) <= 1;
        silent = fault == FAULT_SILENCE && faulty;
        load = due && !silent && random[31:16] >= gap && (!s_axi_rvalid || s_axi_rready);
        ar_fire = s_axi_arvalid && s_axi_arready;
        r_done = s_axi_rvalid && s_axi_rready && ending;
    end
    assign s_axi_arready = ar_open && in_flight < outstanding;

    always_ff @(posedge clk) begin
        now <= now + 1;
        random <= xorshift(random);
        ar_open <= random[15:0] >= gap;

        if (ar_fire) begin
            reads[tail] <= '{word: s_axi_araddr >> WORD_SHIFT, len: s_axi_arlen, due: now + 32'(latency)};
            tail <= tail + 1'b1;
        end
        in_flight <= in_flight + 8'(ar_fire) - 8'(r_done);
        waiting <= waiting + 8'(ar_fire) - 8'(load && last);

        if (s_axi_rready) s_axi_rvalid <= 1'b0;
        if (load) begin
            s_axi_rvalid <= 1'b1;
            s_axi_rlast <= last ^ (fault == FAULT_LAST && faulty);
            ending <= last;
            s_axi_rdata <= word < WORDS ? words[word[$clog2(WORDS)-1:0]] : '0;
            if (word >= WORDS) s_axi_rresp <= DECERR;
            else if (fault == FAULT_ERROR && faulty) s_axi_rresp <= SLVERR;
            else s_axi_rresp <= OKAY;
            beat <= last ? 8'd0 : beat + 1'b1;
            head <= head + SLOT_BITS'(last);
        end

        if (rst) begin
            {head, tail, waiting, in_flight, beat, now} <= '0;
            {ar_open, s_axi_rvalid, s_axi_rlast, ending} <= '0;
            random <= {seed[15:0], seed[31:16]} * 32'h9E3779B1 | 32'd1;
        end
    end
endmodule
