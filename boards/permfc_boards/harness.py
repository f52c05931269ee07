"""A shell around a design with more ports than a package has pins.

Every input comes from a shift register, every output is registered and folded by a pipelined XOR tree into one pin. The design keeps all its logic,
all its paths become register to register, and the tools see three pins: ``clk``, ``d`` and ``q``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from permfc.errors import ToolError

TOP = "permfc_harness"
CLOCK = "clk"
FOLD = 4  # inputs of one XOR: one LUT4

_PORT = re.compile(r"^\s*(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\]\s*)?(\w+)\s*;", re.MULTILINE)


@dataclass(frozen=True)
class Port:
    """A port of a Verilog module: its name, direction and width in bits."""

    name: str
    is_input: bool
    width: int


def ports(verilog: str, module: str) -> list[Port]:
    """The ports of ``module``, declared one a line as Verilog writers do.

    Raises
    ------
    ToolError
        If ``verilog`` has no such module.
    """
    body = re.search(rf"^module\s+\\?{re.escape(module)}\s*\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if body is None:
        raise ToolError(f"The Verilog to synthesise has no module {module!r}; name one that it has")
    return [Port(name, direction == "input", int(high or 0) + 1) for direction, high, name in _PORT.findall(body.group())]


def _fold_levels(width: int) -> list[int]:
    """Registers of each level of the XOR tree over ``width`` registered outputs."""
    levels = [width]
    while levels[-1] > 1:
        levels.append(-(-levels[-1] // FOLD))
    return levels


def harness(verilog: str, module: str) -> str:
    """Verilog of the module ``permfc_harness``, the shell around ``module``, whose clock is the input ``clk``.

    Raises
    ------
    ToolError
        If ``verilog`` has no such module.
    """
    inputs = [port for port in ports(verilog, module) if port.is_input and port.name != CLOCK]
    outputs = [port for port in ports(verilog, module) if not port.is_input]
    input_bits, output_bits = (sum(port.width for port in side) for side in (inputs, outputs))
    levels = _fold_levels(output_bits)

    lines = [f"module {TOP}(input {CLOCK}, input d, output q);"]
    lines += [f"  reg [{input_bits - 1}:0] inputs;", f"  wire [{output_bits - 1}:0] outputs;"]
    lines += [f"  reg [{width - 1}:0] fold{level};" for level, width in enumerate(levels)]
    lines += [f"  assign q = fold{len(levels) - 1};", f"  always @(posedge {CLOCK}) begin", "    inputs <= {inputs, d};", "    fold0 <= outputs;"]
    for level in range(1, len(levels)):
        for bit in range(levels[level]):
            high = min(bit * FOLD + FOLD, levels[level - 1]) - 1
            lines.append(f"    fold{level}[{bit}] <= ^fold{level - 1}[{high}:{bit * FOLD}];")
    lines += ["  end", f"  {module} design("]
    connections = [f"    .{CLOCK}({CLOCK})"]
    for side, bus in ((inputs, "inputs"), (outputs, "outputs")):
        offset = 0
        for port in side:
            connections.append(f"    .{port.name}({bus}[{offset + port.width - 1}:{offset}])")
            offset += port.width
    lines += [",\n".join(connections), "  );", "endmodule", ""]
    return "\n".join(lines)
