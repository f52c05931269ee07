"""The engine driven by cocotbext-axi, an AXI4-Lite and AXI4-Stream implementation that is not ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cocotb_runner import run_cocotb
from networks import random_inputs, random_network
from permfc.config import EngineConfig
from permfc.format import IMAGE_HEADER
from permfc.image import pack, predicted_traffic
from permfc.image.layout import BlockLayout, image_layout
from permfc_hw.verilog import engine_verilog
from permfc_sim.memories import HDL

WORDS = 1 << 14


def segment_addresses(block: BlockLayout, received: np.ndarray, bus_bytes: int) -> list[int]:
    """Where the segments of a block lie that are read when its layer receives int8 [features]."""
    return [
        (start + (feature - segments.first) * size) * bus_bytes
        for segments, start, size in zip(block.classes, block.segment_offsets, block.feature_words, strict=True) if size
        for feature in range(segments.first, segments.end) if received[feature]
    ]


def test_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = EngineConfig(lanes=4, bus_bits=32, block_outputs=64, features=64)
    network = random_network(21, [40, 50, 9], block_outputs=2)
    x = random_inputs(22, 40, batch=2)
    image = pack(network, config)
    assert len(image) <= WORDS * config.bus_bytes
    words = np.frombuffer(image + bytes(-len(image) % config.bus_bytes), dtype=np.uint8).reshape(-1, config.bus_bytes)
    memory, case, engine = tmp_path / "memory.hex", tmp_path / "case.npz", tmp_path / "permfc_engine.v"
    memory.write_text("\n".join(word[::-1].tobytes().hex() for word in words))
    engine.write_text(engine_verilog(config))
    layout, (first, final) = image_layout(network, config.bus_bytes), network.layer_inputs(x[:1])
    segments = segment_addresses(layout.blocks[0], first[0], config.bus_bytes)
    final_segments = [segment_addresses(block, final[0], config.bus_bytes)[-1] for block in layout.blocks if block.layer == 1]
    np.savez(
        case, x=x, golden=network.compute(x), words=predicted_traffic(network, x, config).total_words,
        segment=segments[len(segments) // 2], final_segments=final_segments[-2:],
        places=[0, IMAGE_HEADER.itemsize - config.bus_bytes, final_segments[0]],
    )
    run_cocotb(
        monkeypatch, tmp_path, "testbench", "cocotb_engine", sources=[engine, HDL / "memory_axi.sv"], environment={"CASE": str(case)},
        plusargs=[f"+memory={memory}"], parameters={"DATA_BITS": config.bus_bits, "WORDS": WORDS, "OUTSTANDING": config.outstanding},
    )
