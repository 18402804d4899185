"""An adapter that PEFT saved, packed and unpacked here, is loaded by PEFT again and computes the same."""

from pathlib import Path
from typing import Any

import pytest

from neuralforge.adapter.fit import check_fits
from neuralforge.adapter.manifest import BaseInfo, DataInfo, LoraInfo, Manifest
from neuralforge.adapter.package import inspect, pack, seal, unpack

torch = pytest.importorskip("torch")
DIGEST = "sha256:" + "12" * 32


def tiny() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return LlamaForCausalLM(shape).eval()


@pytest.mark.parametrize(
    ("lora", "dtype"),
    [
        (LoraInfo(4, 8.0, 0.0, ("down_proj", "q_proj")), "float32"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj"), layers=(1, 2), use_dora=True), "float32"),
        (LoraInfo(2, 4.0, 0.0, ("o_proj",), use_rslora=True), "bfloat16"),
    ],
)
def test_there_and_back(tmp_path: Path, lora: LoraInfo, dtype: str) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=int(lora.alpha),
        target_modules=list(lora.target_modules),
        layers_to_transform=None if lora.layers is None else list(lora.layers),
        use_dora=lora.use_dora,
        use_rslora=lora.use_rslora,
        task_type="CAUSAL_LM",
    )
    trained = get_peft_model(tiny().to(getattr(torch, dtype)), settings, autocast_adapter_dtype=False)
    with torch.no_grad():
        for name, weight in trained.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    trained.eval().save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "training.yaml").write_text("lora: {rank: 4}\n")
    base = BaseInfo("tiny", "tiny", DIGEST)
    seal(tmp_path / "saved", Manifest("tiny", "0.1.0", "2026-01-31T12:00:00Z", base, lora, DataInfo(1)))
    pack(tmp_path / "saved", tmp_path / "tiny.lora")
    unpack(tmp_path / "tiny.lora", tmp_path / "out")

    check_fits(inspect(tmp_path / "out").manifest, "tiny", DIGEST)

    loaded = PeftModel.from_pretrained(tiny().to(getattr(torch, dtype)), tmp_path / "out", autocast_adapter_dtype=False)
    tokens_BT = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        expected, found = trained(tokens_BT).logits, loaded.eval()(tokens_BT).logits
    assert torch.equal(expected, found)
