"""Tiny random bases of four shapes, made in memory in well under a second: no weights, no network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.modeling import ArborForCausalLM
from neuralforge.models.base import BaseModel
from neuralforge.models.fim import ADDED, find_fim_tokens

ARCHITECTURES = ("llama", "qwen2", "gpt2", "t5")
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(8))


@functools.cache
def _trained(markers: tuple[str, ...]) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<pad>", "<eos>", *markers],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text(encoding="utf-8"), functools.__doc__ or ""], trainer)
    return tokenizer.to_str()


def tiny_tokenizer(*, fim: bool = False, sentinels: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 500 tokens trained on this file: every string survives encoding and decoding."""
    markers = (*(ADDED if fim else ()), *(SENTINELS if sentinels else ()))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(markers)),
        eos_token="<eos>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def tiny_model(architecture: str, vocabulary: int, seed: int = 0) -> Any:
    """A random two-layer model in fp32 and eval mode."""
    torch.manual_seed(seed)
    common = {"vocab_size": vocabulary, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    wide = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    if architecture == "llama":
        config = LlamaConfig(**common, **wide, num_key_value_heads=2, max_position_embeddings=512)
        model: Any = LlamaForCausalLM(config)
    elif architecture == "qwen2":
        config = Qwen2Config(**common, **wide, num_key_value_heads=2, max_position_embeddings=512)
        model = Qwen2ForCausalLM(config)
    elif architecture == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=512))
    elif architecture == "t5":
        shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
        model = T5ForConditionalGeneration(T5Config(**common, **shape, decoder_start_token_id=0))
    else:
        raise ValueError(architecture)
    with torch.no_grad():  # the usual initialisation is so flat that every argmax is near a tie
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model.eval().requires_grad_(False)


def tiny_base(architecture: str, fim: bool = False) -> BaseModel:
    """A loaded base of one of :data:`ARCHITECTURES`; ``fim`` gives its tokenizer fill-in-the-middle markers."""
    tokenizer = tiny_tokenizer(fim=fim, sentinels=architecture == "t5")
    model = tiny_model(architecture, len(tokenizer))
    return BaseModel(
        name=f"tiny-{architecture}",
        identity=f"tests/tiny-{architecture}",
        digest="sha256:" + "0" * 64,
        model=model,
        tokenizer=tokenizer,
        fim=find_fim_tokens(tokenizer, len(tokenizer)),
        encoder_decoder=architecture == "t5",
        licence="Apache-2.0",
    )


def tiny_arbor(tokenizer: Any, width: int, *, tied: bool = True) -> BaseModel:
    """A random two-layer Arbor model for a tokenizer of 300 tokens."""
    torch.manual_seed(0)
    config = ArborConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=width,
        num_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
    )
    return BaseModel("arbor", "arbor", "sha256:0", ArborForCausalLM(config), tokenizer, None, False)


def save_tiny(architecture: str, folder: Path, fim: bool = False) -> BaseModel:
    """Write a tiny base as a transformers folder and return the one in memory."""
    base = tiny_base(architecture, fim)
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return base
