"""A plain Llama that computes what an Arbor computes, for places where neuralforge is not installed."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.modeling import ArborForCausalLM

# Llama's fields that mean the same in both; the width is the widest layer's.
_SAME = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "hidden_act", "rms_norm_eps", "rope_parameters", "initializer_range", "tie_word_embeddings", "attention_dropout",
    "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip


@torch.no_grad()
def as_llama(model: ArborForCausalLM, multiple: int = 1) -> LlamaForCausalLM:
    """Every layer padded with zero neurons to one width, that of the widest, rounded up to ``multiple``.

    A neuron whose gate, up and down weights are zero adds nothing, so logits are the same to rounding. Weights are
    copied; ``model`` keeps its own.

    Raises:
        ValueError: the model carries adapters.
    """
    if any("lora_" in name for name, _ in model.named_parameters()):
        raise ValueError("The model carries adapters; merge them first (PEFT's merge_and_unload).")
    config: ArborConfig = model.config
    assert config.intermediate_sizes is not None
    width = -(-max(config.intermediate_sizes) // multiple) * multiple
    shape = {name: getattr(config, name) for name in _SAME}
    plain = LlamaConfig(**shape, intermediate_size=width, max_position_embeddings=config.context_length)
    with torch.device("meta"):
        llama = LlamaForCausalLM(plain)
    weights = {name: _padded(name, tensor, width) for name, tensor in model.state_dict().items()}
    llama.load_state_dict(weights, strict=True, assign=True)
    llama.model.rotary_emb = type(llama.model.rotary_emb)(config=plain)  # its tables are no part of the weights
    llama.tie_weights()
    return llama.eval()


def _padded(name: str, tensor: Tensor, width: int) -> Tensor:
    if name.endswith(("mlp.gate_proj.weight", "mlp.up_proj.weight")):
        return torch.nn.functional.pad(tensor, (0, 0, 0, width - tensor.shape[0]))
    if name.endswith("mlp.down_proj.weight"):
        return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]))
    return tensor.clone()
