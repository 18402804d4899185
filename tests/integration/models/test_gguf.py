"""GGUF files written by the `gguf` package from tiny models come back as the same networks."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from neuralforge.errors import NeuralForgeError, TrustError, UserError
from neuralforge.models import cache, load_base_model
from neuralforge.models.base import BaseModel
from neuralforge.models.gguf import convert as conversion
from neuralforge.models.gguf.header import read_header
from neuralforge.models.gguf.tokenizer import read_tokenizer
from tests.tiny import tiny_base


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)


def halves_to_interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The row order that llama.cpp's converter writes for rotary projections."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write(path: Path, base: BaseModel, pre: str = "smollm", **changes: Any) -> Path:
    """Write a tiny llama or qwen2 as F32; ``changes`` override integer fields of the architecture."""
    config = base.model.config
    writer = gguf.GGUFWriter(str(path), config.model_type)
    sizes = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        **changes,
    }
    for name, value in sizes.items():
        writer.add_uint32(f"{config.model_type}.{name}", value)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_string("general.license", "mit")
    vocabulary = sorted(base.tokenizer.get_vocab(), key=base.tokenizer.get_vocab().__getitem__)
    special = set(base.tokenizer.added_tokens_decoder)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if index in special else 1 for index in range(len(vocabulary))])
    merges = json.loads(base.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    weights = base.model.state_dict()
    for theirs, ours in conversion._OUTER.items():
        writer.add_tensor(theirs, weights[ours].numpy())
    for layer in range(config.num_hidden_layers):
        for theirs, ours in conversion._INNER.items():
            for kind in ("weight", "bias"):
                value = weights.get(f"model.layers.{layer}.{ours}.{kind}")
                if value is None:
                    continue
                if config.model_type == "llama" and theirs in ("attn_q", "attn_k"):
                    heads = config.num_attention_heads if theirs == "attn_q" else config.num_key_value_heads
                    value = halves_to_interleaved(value, heads)
                writer.add_tensor(f"blk.{layer}.{theirs}.{kind}", np.ascontiguousarray(value.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_gguf_base_is_the_network_that_was_written(architecture: str, tmp_path: Path) -> None:
    written = tiny_base(architecture, fim=True)
    path = write(tmp_path / "Tiny Model.gguf", written, "smollm" if architecture == "llama" else "gpt-2")
    base = load_base_model(str(path), dtype="fp32", offline=True)
    ids = torch.arange(2, 40)[None]
    rounded = {name: value.bfloat16().float() for name, value in written.model.state_dict().items()}
    written.model.load_state_dict(rounded)
    torch.testing.assert_close(base.model(ids).logits, written.model(ids).logits, rtol=1e-4, atol=1e-4)
    assert base.fim == written.fim
    assert base.licence == "mit"
    assert base.identity == "Tiny Model.gguf"
    assert cache.installed() == [f"gguf-tiny-model-{base.digest[7:19]}"]


def test_the_direct_reader_and_transformers_agree_bitwise(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = write(tmp_path / "tiny.gguf", tiny_base("llama"))
    direct, general = tmp_path / "direct", tmp_path / "general"
    for folder in (direct, general):
        folder.mkdir()
    conversion.convert(path, direct)
    conversion._convert_by_transformers(read_header(path), general)
    one, two = load_file(direct / "model.safetensors"), load_file(general / "model.safetensors")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_same_file_anywhere_is_converted_once_and_has_one_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "tiny.gguf", tiny_base("llama"))
    first = load_base_model(str(path))
    (tmp_path / "elsewhere").mkdir()
    copy = Path(path).rename(tmp_path / "elsewhere" / "tiny.gguf")
    monkeypatch.setattr(conversion, "convert", lambda *_, **__: pytest.fail("converted again"))
    assert load_base_model(str(copy)).digest == first.digest


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("12345", ["1", "2", "3", "4", "5"]), ("=  12", ["=", "ĠĠ", "1", "2"]), ("=  x", ["=", "Ġ", "Ġx"])],
)
def test_digits_are_split_before_white_space(text: str, pieces: list[str], tmp_path: Path) -> None:
    base = tiny_base("llama")
    tokenizer = read_tokenizer(read_header(write(tmp_path / "tiny.gguf", base)))
    split = [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert split == pieces
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("<eos>") == [1]


@pytest.mark.parametrize(
    "changes",
    [
        {"block_count": 1_000_000},
        {"embedding_length": 1 << 31},
        {"feed_forward_length": 1 << 31},
        {"attention.head_count": 0},
        {"attention.head_count": 3},
        {"attention.head_count_kv": 0},
        {"rope.dimension_count": 7},
        {"feed_forward_length": 47},
    ],
    ids=str,
)
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_fields_that_contradict_the_tensors_are_refused(
    architecture: str, changes: dict[str, int], tmp_path: Path
) -> None:
    path = write(tmp_path / "tiny.gguf", tiny_base(architecture), "gpt-2", **changes)
    if architecture == "qwen2" and "rope.dimension_count" in changes:
        pytest.skip("qwen2 files do not carry this field")
    with pytest.raises(NeuralForgeError) as caught:
        load_base_model(str(path))
    assert architecture == "qwen2" or isinstance(caught.value, TrustError)
    assert cache.installed() == []


def test_a_missing_file_and_other_content(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        load_base_model(str(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(TrustError, match="GGUF"):
        load_base_model(str(tmp_path / "text.gguf"))
