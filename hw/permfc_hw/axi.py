"""Constants of AXI4 (AMBA AXI specification)."""

PAGE_BITS = 12              # no burst may cross 4 KiB; an image begins on such a page
INCR = 0b01                 # AxBURST
OKAY, DECERR = 0b00, 0b11   # RRESP, BRESP
