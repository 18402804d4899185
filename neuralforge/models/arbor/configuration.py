"""The shape of an Arbor model: Llama's, with a feed-forward width of its own for every layer, and room to grow."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig


class ArborConfig(LlamaConfig):  # type: ignore[misc]
    """Configuration of ``ArborForCausalLM``; everything that is not listed here means what it does for Llama.

    Attributes:
        intermediate_size: the width that every feed-forward network starts from.
        intermediate_sizes: the present width of each layer's; None for ``intermediate_size`` everywhere.
        dropout: of what attention and feed-forward add to the residual stream, in training.
        max_position_embeddings: the longest context that ``set_context_length`` may choose, in tokens.
        trained_context: tokens of a sequence in training; None for ``max_position_embeddings``. Longer contexts scale
            the rotary positions (YaRN, arXiv 2309.00071).
        context_length: tokens that the model accepts at present; None for ``trained_context``.
        growth_factor: how many times wider ``expand_layer`` makes a layer unless it is told otherwise.

    Raises:
        ValueError: the sizes do not fit each other.
    """

    model_type = "arbor"
    attribute_map = {  # noqa: RUF012 - transformers' own form
        "num_layers": "num_hidden_layers",
        "layer_norm_eps": "rms_norm_eps",
        "activation_function": "hidden_act",
        "ffn_dim": "intermediate_size",
    }

    vocab_size: int = 128_000
    rope_parameters: Any = None
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_key_value_heads: int | None = None
    max_position_embeddings: int = 131_072
    rms_norm_eps: float = 1e-5
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    intermediate_sizes: list[int] | None = None
    dropout: float = 0.0
    trained_context: int | None = None
    context_length: int | None = None
    growth_factor: float = 2.0

    def __post_init__(self, **kwargs: Any) -> None:
        for alias in self.attribute_map.keys() & kwargs.keys():  # transformers would set them only after this
            setattr(self, alias, kwargs.pop(alias))
        if self.intermediate_sizes is None:
            self.intermediate_sizes = [self.intermediate_size] * self.num_hidden_layers
        if self.trained_context is None:
            self.trained_context = self.max_position_embeddings
        if self.context_length is None:
            self.context_length = self.trained_context
        super().__post_init__(**kwargs)
        self.validate_architecture()
        self.choose_context(self.context_length)

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit each other."""
        super().validate_architecture()
        sizes = self.intermediate_sizes or []
        if len(sizes) != self.num_hidden_layers or min(sizes, default=0) < 1:
            raise ValueError(
                f"intermediate_sizes is a positive width for each of the {self.num_hidden_layers} layers, not {sizes}."
            )
        heads = self.num_key_value_heads or self.num_attention_heads
        if self.num_attention_heads % heads:
            raise ValueError(f"{self.num_attention_heads} heads cannot share {heads} key/value heads evenly.")
        if self.mlp_bias or self.attention_bias:
            raise ValueError("Arbor's projections have no biases.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, not {self.dropout}.")
        if self.trained_context is not None and not 1 <= self.trained_context <= self.max_position_embeddings:
            raise ValueError(
                f"trained_context is from 1 to {self.max_position_embeddings} tokens, not {self.trained_context}."
            )

    def choose_context(self, length: int) -> bool:
        """Set the context length and the scaling of rotary positions that it needs; whether the scaling changed.

        Raises:
            ValueError: ``length`` is not from 1 to ``max_position_embeddings``, or the positions are scaled in a way
                that is not Arbor's.
        """
        if not 1 <= length <= self.max_position_embeddings:
            raise ValueError(f"A context has from 1 to {self.max_position_embeddings:,} tokens, not {length:,}.")
        before: dict[str, Any] = dict(self.rope_parameters)
        if before["rope_type"] not in ("default", "yarn"):
            raise ValueError(f"Arbor scales rotary positions by YaRN alone, not by {before['rope_type']!r}.")
        trained = self.trained_context or self.max_position_embeddings
        rope: dict[str, Any] = {"rope_theta": before["rope_theta"], "rope_type": "default"}
        if length > trained:
            rope |= {"rope_type": "yarn", "factor": length / trained, "original_max_position_embeddings": trained}
        self.context_length, self.rope_parameters = length, rope
        return rope != before
