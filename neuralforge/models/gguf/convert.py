"""Turn a GGUF file into a plain folder: ``config.json``, ``model.safetensors``, tokenizer files.

Plain llama shapes, the default base among them, are read directly: each tensor is dequantised exactly by the `gguf`
package, renamed, and its rotary rows put back in transformers' order. Every other architecture goes through
transformers' own GGUF reader.

Weights are stored in bfloat16. A 4-bit block (`d * q + m`) needs more mantissa than that, yet on 5,110 tokens of five
Python libraries the rounding moved the default base's loss from 2.01954 to 2.01961 nats (fp16: 2.01950; computing in
bfloat16 costs more, 2.02074), while fp32 would double the file and the memory of every later load.
"""

from __future__ import annotations

import contextlib
import io
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge.errors import DataError, TrustError
from neuralforge.models.gguf.header import Header, TensorInfo, read_header
from neuralforge.models.gguf.tokenizer import read_tokenizer
from neuralforge.models.reading import quiet
from neuralforge.runs.events import Emit, Progress, silent

if TYPE_CHECKING:
    import torch

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(source: Path, target: Path, *, emit: Emit = silent) -> Header:
    """Write the model in the GGUF file ``source`` as a transformers folder into the existing folder ``target``.

    Returns:
        The file's checked header.

    Raises:
        TrustError: the file is malformed.
        DataError: its architecture or a tensor type cannot be read.
    """
    header = read_header(source)
    if not header.architecture:
        raise TrustError(f"{source} names no architecture.", "It may hold something else than a model.")
    _check_sizes(header)
    tokenizer = read_tokenizer(header)
    names = _llama_names(header)
    if names is None:
        _convert_by_transformers(header, target)
    else:
        _convert_llama(header, names, target, emit)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(str(target))
    return header


def _check_sizes(header: Header) -> None:
    """Refuse fields that would make a library build something larger than the tensors in the file."""
    widest = max((max(tensor.shape) for tensor in header.tensors.values()), default=0)
    learned = header.tensors.get("position_embd.weight")
    limits = {
        "block_count": len(header.tensors),
        "embedding_length": widest,
        "feed_forward_length": widest,
        "vocab_size": widest,
        "expert_count": widest,
        "attention.head_count": widest,
        "attention.head_count_kv": widest,
        "attention.key_length": widest,
        "attention.value_length": widest,
        "rope.dimension_count": widest,
        # Only a learned table of positions takes memory; rotary positions are computed.
        "context_length": max(learned.shape) if learned else 1 << 31,
    }
    for field, limit in limits.items():
        value = header.fields.get(f"{header.architecture}.{field}", 1)
        for number in value if isinstance(value, list) else [value]:
            if not isinstance(number, int) or not 0 <= number <= limit:
                raise TrustError(
                    f"{header.path}: {header.architecture}.{field} is {number!r}, more than its tensors account for.",
                    "The header contradicts itself; fetch the file again.",
                )


def _llama_names(header: Header) -> dict[str, str] | None:
    """GGUF tensor name to transformers name, or None unless every part is that of a plain llama."""
    layers = header.fields.get("llama.block_count")
    scaled = any(key.startswith("llama.rope.scaling") for key in header.fields)
    if header.architecture != "llama" or not isinstance(layers, int) or not 0 < layers <= 4096 or scaled:
        return None
    names = dict(_OUTER)
    for layer in range(layers):
        for theirs, ours in _INNER.items():
            names[f"blk.{layer}.{theirs}.weight"] = f"model.layers.{layer}.{ours}.weight"
    if not set(header.tensors) <= set(names) or not set(names) - {"output.weight"} <= set(header.tensors):
        return None
    return names


def _llama_config(header: Header) -> dict[str, Any]:
    heads = header.field("llama.attention.head_count", int)
    shared = header.field("llama.attention.head_count_kv", int, heads)
    hidden = header.field("llama.embedding_length", int)
    width = header.field("llama.rope.dimension_count", int, hidden // max(heads, 1))
    if heads < 1 or shared < 1 or heads % shared or hidden < 1 or width < 2 or width % 2:
        raise TrustError(
            f"{header.path} states {heads} heads of width {width}, {shared} for keys, in a model of width {hidden}.",
            "That is no transformer; fetch the file again.",
        )
    return {
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "hidden_size": hidden,
        "intermediate_size": header.field("llama.feed_forward_length", int),
        "num_hidden_layers": header.field("llama.block_count", int),
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "head_dim": width,
        "max_position_embeddings": header.field("llama.context_length", int),
        # A float32 in the file: its shortest decimal form is what was meant (1e-05, not 9.999999747378752e-06).
        "rms_norm_eps": _shortest(header.field("llama.attention.layer_norm_rms_epsilon", float)),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": _shortest(header.field("llama.rope.freq_base", float, 10000.0)),
        },
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": header.fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": header.fields.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": header.fields.get("tokenizer.ggml.padding_token_id"),
    }


def _shortest(value: float) -> float:
    import numpy as np

    return float(str(np.float32(value)))


def _convert_llama(header: Header, names: dict[str, str], target: Path, emit: Emit) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**_llama_config(header), dtype="bfloat16", architectures=["LlamaForCausalLM"])
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in LlamaForCausalLM(config).state_dict().items()}
    weights: dict[str, torch.Tensor] = {}
    with header.path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for number, (theirs, tensor) in enumerate(header.tensors.items(), 1):
            ours = names[theirs]
            if tensor.shape != expected[ours]:
                raise TrustError(
                    f"{header.path}: the tensor {theirs!r} has shape {tensor.shape}, not {expected[ours]}.",
                    "The header contradicts itself; fetch the file again.",
                )
            values = _dequantise(header, tensor, data)
            if ".attn_q." in theirs or ".attn_k." in theirs:
                heads = config.num_attention_heads if ".attn_q." in theirs else config.num_key_value_heads
                values = _interleaved_to_halves(values, heads)
            weights[ours] = values.to(torch.bfloat16).contiguous()
            emit(Progress(number, len(header.tensors), "tensors"))
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(target)


def _dequantise(header: Header, tensor: TensorInfo, data: mmap.mmap) -> torch.Tensor:
    import gguf
    import numpy as np
    import torch

    raw = np.frombuffer(data[tensor.offset : tensor.offset + tensor.size], dtype=np.uint8)
    kind = gguf.GGMLQuantizationType(tensor.kind)
    try:
        values = gguf.dequantize(raw.reshape(*tensor.shape[:-1], -1), kind)
    except (NotImplementedError, ValueError) as failure:
        raise DataError(
            f"{header.path}: tensors of type {kind.name} cannot be read: {failure}",
            "Use a file in F16, BF16, Q8_0, Q4 to Q6 or a K-quant.",
        ) from failure
    return torch.from_numpy(np.array(values, dtype=np.float32).reshape(tensor.shape))


def _interleaved_to_halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key projection from ggml's order (rotary pairs adjacent) to transformers' (two halves)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _convert_by_transformers(header: Header, target: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    folder, name = str(header.path.parent), header.path.name
    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        # Its reader draws a progress bar that no setting turns off.
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            config = AutoConfig.from_pretrained(folder, gguf_file=name, **safely)
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            read = kind.from_pretrained(folder, gguf_file=name, dtype=torch.float32, **safely)
            # It refuses to save a model it read from GGUF; a plain one with the same weights has no such mark.
            described = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
            plain = kind.from_config(type(config)(**described))
            plain.load_state_dict(read.state_dict())
            plain.to(torch.bfloat16).save_pretrained(str(target))
    except Exception as failure:
        raise DataError(
            f"The {header.architecture!r} model in {name} cannot be read: {type(failure).__name__}: {failure}",
            "Use the model's safetensors files instead of its GGUF form.",
        ) from failure
