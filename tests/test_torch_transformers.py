"""Models of Hugging Face's transformers, tiny and with random weights."""

from __future__ import annotations

import pytest

from torch_cases import quick_compress

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import permfc.torch  # noqa: E402
from permfc.torch import compressing  # noqa: E402


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(compressing, "compress", quick_compress)
    torch.manual_seed(0)


def tokens() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(0, 30, (4, 6)), "attention_mask": torch.tensor([[1] * 6] * 3 + [[1] * 4 + [0] * 2])}


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_bert(tmp_path):
    config = transformers.BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    model, batch = transformers.BertModel(config).eval(), tokens()
    offloaded = permfc.torch.offload(model, [tokens() for _ in range(3)])
    names = [layer.name for layer in offloaded.layers]
    assert names[:2] == ["encoder.layer.0.attention.self.query+key+value", "encoder.layer.0.attention.output.dense"] and len(names) == 9
    with torch.no_grad():
        assert relative(offloaded(**batch).last_hidden_state, model(**batch).last_hidden_state) < 0.05
    permfc.torch.save(offloaded, tmp_path / "bert")
    loaded = permfc.torch.load(tmp_path / "bert", transformers.BertModel(config))
    assert torch.equal(loaded(**batch).pooler_output, offloaded(**batch).pooler_output)


def test_gpt2_with_its_tied_head():
    config = transformers.GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=12, bos_token_id=0, eos_token_id=0)
    model, batch = transformers.GPT2LMHeadModel(config).eval(), tokens()
    offloaded = permfc.torch.offload(model, [tokens() for _ in range(3)], bits=9)
    assert [layer.name for layer in offloaded.layers] == [
        "transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_proj", "transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_proj", "lm_head"]
    assert offloaded.layers.share == 1 and offloaded.config.n_embd == 16
    with torch.no_grad():
        assert relative(offloaded(**batch).logits, model(**batch).logits) < 0.05
    text = offloaded.generate(batch["input_ids"][:1, :3], max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert text.shape[0] == 1 and 3 < text.shape[1] <= 6


def test_t5_asks_its_layers_for_their_type():
    config = transformers.T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0)
    model = transformers.T5Model(config).eval()
    batch = {"input_ids": torch.randint(1, 30, (4, 6)), "decoder_input_ids": torch.randint(1, 30, (4, 5))}
    offloaded = permfc.torch.offload(model, [batch])
    assert "encoder.block.0.layer.1.DenseReluDense.wo" in [layer.name for layer in offloaded.layers.offloaded]
    assert offloaded.layers.share == 1
    with torch.no_grad():
        assert relative(offloaded(**batch).last_hidden_state, model(**batch).last_hidden_state) < 0.08
