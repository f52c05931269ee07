"""The engine as an IP block for other people's flows: one Verilog file, a FuseSoC core, lint waivers and a README."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import Signal
from amaranth.lib.wiring import In

from permfc.config import EngineConfig

from .engine import Engine
from .verilog import MODULE

TOP = "permfc"

# Constant on AXI4 reads: unprivileged secure data (ARPROT), normal memory that may be buffered (ARCACHE).
CONSTANT_OUTPUTS = {"m_axi_arprot": (3, 0b000), "m_axi_arcache": (4, 0b0011)}

_WAIVERS = f"""\
`verilator_config
// {TOP}.v is written by a program out of a typed description in which widths and drivers have been checked. Its style trips these rules:
lint_off -rule UNUSEDSIGNAL    // a name for every wire of the hierarchy, also where only some bits are read
lint_off -rule PROCASSINIT     // registers have initial values: FPGAs load them with the bitstream
lint_off -rule WIDTHEXPAND     // small constants are written in as many bits as they need
lint_off -rule WIDTHTRUNC      // picking one field of a shifted word
lint_off -rule CASEINCOMPLETE  // outputs get their default before the case
lint_off -rule DECLFILENAME    // all modules stand in one file
"""

_CORE = """\
CAPI=2:
name: permfc:ip:permfc:{version}
description: Fully connected layers from permutation-coded weights in external memory
filesets:
  rtl:
    files: [permfc.v]
    file_type: verilogSource-2005
  waivers:
    files: [permfc.vlt]
    file_type: vlt
targets:
  default:
    filesets: [rtl]
    toplevel: permfc
  lint:
    filesets: [rtl, waivers]
    toplevel: permfc
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wall]
"""

_README = """\
# permfc {version}: the engine as an IP block

`permfc.v` holds the module `permfc` and all it consists of, in Verilog-2005 without vendor primitives.

| interface | ports | |
|---|---|---|
| clock, reset | `aclk`, `aresetn` | one clock; the reset is synchronous, active low |
| memory | `m_axi_*` | AXI4 read master, {bus_bits} bits, 32-bit byte addresses; INCR bursts within 4 KiB, {outstanding} reads in flight, no IDs |
| host | `s_axi_*` | AXI4-Lite slave, 32 bits: control, status, counters. WSTRB is ignored: registers are written whole |
| input | `s_axis_*` | AXI4-Stream, 8 bits: int8 activations in packed order |
| output | `m_axis_*` | AXI4-Stream, 32 bits: int32 results, TLAST with the last: one whole frame of each run that ends with DONE |

Vivado recognises the interfaces by these names when the file is added to a block design; in other flows connect the ports.

A run: write the image's address to IMAGE_BASE (0x1C), stream the input in, write 1 to CONTROL (0x14), read STATUS (0x18) until bit 0 is low.
Then bit 1 says that the run is done, and bit 2 that results wait; else bits 15 to 8 say why it failed. IMAGE_BASE may be written while a run
is busy, for the next one. Writing 2 to CONTROL forgets the input and the error, but not results that wait: take them from `m_axis_*`.

FuseSoC: `fusesoc library add permfc <this folder>`, then depend on `permfc:ip:permfc`; `fusesoc run --target lint permfc:ip:permfc` runs
Verilator over it.

| parameter | value |
|---|---:|
{parameters}

Images for it: `permfc pack net.safetensors -o net.img {options}`.
"""


def _option(name: str, value: int) -> str:
    """A parameter as the command line takes it."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"


def _declaration(name: str, width: int, is_input: bool, note: str = "") -> str:
    return f"    {note}{'input' if is_input else 'output'} wire {f'[{width - 1}:0] ' if width > 1 else ''}{name}"


def wrapper_verilog(engine: Engine) -> str:
    """Verilog of the module ``permfc``: the engine's ports under names that vendors' tools sort into AXI interfaces by themselves."""
    members = dict(engine.signature.members.items())
    interfaces = 'X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF m_axi:s_axi:s_axis:m_axis, ASSOCIATED_RESET aresetn"'
    ports = [_declaration("aclk", 1, True, f"(* {interfaces} *)\n    "), _declaration("aresetn", 1, True)]
    ports += [_declaration(name, Signal(member.shape).shape().width, member.flow == In) for name, member in members.items()]
    ports += [_declaration(name, width, False) for name, (width, _) in CONSTANT_OUTPUTS.items()]
    connections = ["        .clk(aclk)", "        .rst(reset)", *(f"        .{name}({name})" for name in members)]
    return "\n".join([
        f"module {TOP} (",
        ",\n".join(ports),
        ");",
        *(f"    assign {name} = {width}'d{value};" for name, (width, value) in CONSTANT_OUTPUTS.items()),
        "    wire reset = ~aresetn;",
        f"    {MODULE} engine (",
        ",\n".join(connections),
        "    );",
        "endmodule",
        "",
    ])


def ip_files(config: EngineConfig) -> dict[str, str]:
    """Texts of the IP block for ``config``, by file name."""
    version = importlib.metadata.version("permfc")
    parameters, engine = config.as_dict(), Engine(config)
    readme = _README.format(
        version=version, bus_bits=config.bus_bits, outstanding=config.outstanding,
        parameters="\n".join(f"| {name} | {value} |" for name, value in parameters.items()),
        options=" ".join(_option(name, value) for name, value in parameters.items()),
    )
    return {
        f"{TOP}.v": wrapper_verilog(engine) + verilog.convert(engine, name=MODULE, strip_internal_attrs=True),
        f"{TOP}.vlt": _WAIVERS,
        f"{TOP}.core": _CORE.format(version=version),
        "README.md": readme,
    }


def export_ip(config: EngineConfig, folder: Path) -> list[Path]:
    """Write the IP block for ``config`` into ``folder``, which is made when it is missing; the paths written.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in ip_files(config).items():
        paths.append(folder / name)
        paths[-1].write_text(text, encoding="utf-8")
    return paths
