"""A base model in memory: the frozen network that adapters are trained on, with what is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Token ids of the base's own fill-in-the-middle markers (Bavarian et al. 2022, arXiv 2207.14255).

    Prompt order is prefix-suffix-middle: ``prefix`` + text before, ``suffix`` + text after, ``middle``.
    """

    prefix: int
    suffix: int
    middle: int


@dataclass(slots=True)
class BaseModel:
    """A loaded base.

    Attributes:
        name: what the user asked for (an alias, a hub id); of a folder or file, its own name without the path.
        identity: canonical id: hub id, package id or file name.
        digest: ``sha256:…`` over the weight files, stable across machines; adapters are bound to it.
        model: a transformers ``PreTrainedModel`` (decoder-only or encoder-decoder), in eval mode.
        tokenizer: its tokenizer.
        fim: its fill-in-the-middle tokens, or None where it has none.
        encoder_decoder: True for T5-like models.
        licence: SPDX identifier of the weights, or None when unknown.
    """

    name: str
    identity: str
    digest: str
    model: nn.Module | Any
    tokenizer: PreTrainedTokenizerBase | Any
    fim: FimTokens | None
    encoder_decoder: bool
    licence: str | None = None


def causal(base: BaseModel) -> Any:
    """The transformers model inside ``base``; LoRA sits inside its layers, so it is the adapted one."""
    return unwrapped(base.model)


def unwrapped(model: Any) -> Any:
    """``model`` out of PEFT's wrapper, where it has one."""
    return model.get_base_model() if hasattr(model, "peft_config") else model
