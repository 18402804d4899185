"""Arbor: a Llama-shaped decoder whose feed-forward layers have widths of their own and can be widened in training.

Everything but the widths is transformers' Llama: RoPE (arXiv 2104.09864), grouped-query attention (arXiv 2305.13245),
RMSNorm (arXiv 1910.07467), SwiGLU (arXiv 2002.05202; GELU on request), SDPA, the key/value cache, ``generate``, PEFT.
Importing this module makes ``AutoConfig`` and ``AutoModelForCausalLM`` know the type ``arbor``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.llama import modeling_llama as llama

from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.growth import Growth, grown_width, widen


class FeedForward(nn.Module):
    """down(act(gate(x)) · up(x)) with a width of its own."""

    def __init__(self, config: ArborConfig, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] → [..., D]."""
        out: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return nn.functional.dropout(out, self.dropout, self.training) if self.dropout else out


class ArborAttention(llama.LlamaAttention):  # type: ignore[misc]
    """Llama's attention, with dropout of what it adds to the residual stream."""

    def forward(self, *inputs: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """As ``LlamaAttention.forward``."""
        out, weights = super().forward(*inputs, **options)
        share = self.config.dropout
        return (nn.functional.dropout(out, share, self.training) if share else out), weights


class ArborDecoderLayer(llama.LlamaDecoderLayer):  # type: ignore[misc]
    """Llama's layer around a feed-forward network of its own width."""

    def __init__(self, config: ArborConfig, layer_idx: int) -> None:
        GradientCheckpointingLayer.__init__(self)
        assert config.intermediate_sizes is not None
        self.hidden_size = config.hidden_size
        self.self_attn = ArborAttention(config, layer_idx)
        self.mlp = FeedForward(config, config.intermediate_sizes[layer_idx])
        self.input_layernorm = llama.LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = llama.LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class ArborPreTrainedModel(llama.LlamaPreTrainedModel):  # type: ignore[misc]
    """What transformers wants to know of the family."""

    config_class = ArborConfig
    _no_split_modules: ClassVar[list[str]] = ["ArborDecoderLayer"]
    _can_record_outputs: ClassVar[dict[str, Any]] = {"hidden_states": ArborDecoderLayer, "attentions": ArborAttention}


class ArborModel(ArborPreTrainedModel, llama.LlamaModel):  # type: ignore[misc]
    """The decoder without its head."""

    def __init__(self, config: ArborConfig) -> None:
        llama.LlamaPreTrainedModel.__init__(self, config)  # not Llama's own, which would build Llama's layers
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(ArborDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = llama.LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = llama.LlamaRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()


class ArborForCausalLM(ArborPreTrainedModel, llama.LlamaForCausalLM):  # type: ignore[misc]
    """The decoder with its language-model head.

    ``forward(input_ids, attention_mask, labels)`` is transformers': input_ids [B, T] (int64), attention_mask [B, T],
    labels [B, T] with -100 where there is no loss; it returns logits [B, T, V] and the mean loss in nats per token.
    """

    def __init__(self, config: ArborConfig) -> None:
        llama.LlamaPreTrainedModel.__init__(self, config)  # not Llama's own, which would build Llama's layers
        self.model = ArborModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    # The parameters are spelled out because libraries look at the signature for what a model understands.
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **options: Any,
    ) -> Any:
        """As ``LlamaForCausalLM.forward``.

        Raises:
            ValueError: the sequence, what the cache holds included, is longer than the context length.
        """
        given = input_ids if input_ids is not None else inputs_embeds
        length = given.shape[1] if given is not None else 0
        length += past_key_values.get_seq_length() if past_key_values is not None else 0
        if length > self.config.context_length:
            raise ValueError(
                f"{length:,} tokens do not fit into the context of {self.config.context_length:,}; clip the prompt or "
                "call set_context_length."
            )
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **options,
        )

    def set_context_length(self, length: int) -> None:
        """Accept sequences of up to ``length`` tokens from now on.

        Beyond the length it was trained on, rotary positions are scaled by YaRN. A cache filled before is void.

        Raises:
            ValueError: ``length`` is not from 1 to ``config.max_position_embeddings``.
        """
        if self.config.choose_context(length):
            self.model.rotary_emb = llama.LlamaRotaryEmbedding(config=self.config).to(self.device)

    def expand_layer(self, layer_idx: int, growth_factor: float | None = None) -> Growth:
        """Widen the feed-forward network of one layer ``growth_factor`` times (None: the configuration's own factor).

        The model computes what it did before.

        Parameters stay the same objects with larger data, so optimisers and adapters keep hold of them; see ``growth``
        for the state that an optimiser keeps. A ``training.network`` opened before must be opened again.

        Raises:
            ValueError: there is no such layer, the factor is not above 1, or see ``growth.widen``.
        """
        layers = self.model.layers
        if not 0 <= layer_idx < len(layers):
            raise ValueError(f"There is no layer {layer_idx}; the model has layers 0 to {len(layers) - 1}.")
        width = self.config.intermediate_sizes[layer_idx]
        factor = self.config.growth_factor if growth_factor is None else growth_factor
        return self.resize_layer(layer_idx, grown_width(width, factor))

    def resize_layer(self, layer_idx: int, width: int, seed: int | None = None) -> Growth:
        """Give the feed-forward network of one layer ``width`` neurons; see ``expand_layer`` and ``growth.widen``.

        Raises:
            ValueError: see ``growth.widen``.
        """
        before, sizes = self.count_parameters(), list(self.config.intermediate_sizes)
        mlp: Any = self.model.layers[layer_idx].mlp
        was, sizes[layer_idx] = sizes[layer_idx], width
        parts = widen(mlp.gate_proj, mlp.up_proj, mlp.down_proj, width, seed) if width != was else []
        self.config.intermediate_sizes = sizes
        return Growth(layer_idx, was, width, before, self.count_parameters(), tuple(parts))

    def count_parameters(self) -> int:
        """Parameters in all, a tied head counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


AutoConfig.register("arbor", ArborConfig, exist_ok=True)
AutoModelForCausalLM.register(ArborConfig, ArborForCausalLM, exist_ok=True)
