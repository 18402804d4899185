"""What a model to be pre-trained will be: its tokenizer, its shape, and whether it fits into this machine."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge.errors import DataError, UserError

if TYPE_CHECKING:
    from neuralforge.config.pretraining import PretrainConfig

# Bytes a parameter takes in training: weight, gradient and two moments in fp32.
PARAMETER_BYTES = 16


def read_tokenizer(place: Path | None) -> Any:
    """The tokenizer in the folder ``place``.

    Raises:
        DataError: there is none, or it cannot be used.
    """
    from neuralforge.models.reading import open_tokenizer

    if place is None or not (place / "tokenizer.json").is_file():
        raise DataError(f"{place} holds no tokenizer.json.", "Give the folder that `train-tokenizer` wrote.")
    tokenizer = open_tokenizer(place, place.name)
    if tokenizer.eos_token_id is None:
        raise DataError(f"The tokenizer in {place} has no end-of-text token.", "Use one that has an eos_token.")
    return tokenizer


def shape_of(config: PretrainConfig, tokenizer: Any) -> Any:
    """The ``ArborConfig``.

    Raises:
        UserError: the sizes do not fit each other or the tokenizer.
    """
    from neuralforge.models.arbor.configuration import ArborConfig

    model = config.model
    needed = 1 + max(tokenizer.get_vocab().values())
    if model.vocab_size is not None and model.vocab_size < needed:
        raise UserError(
            f"model.vocab_size is {model.vocab_size:,}; the tokenizer in {config.tokenizer} has {needed:,} tokens.",
            "Leave vocab_size out, or give the tokenizer that belongs to this configuration.",
        )
    if config.training.max_seq_len > model.max_position_embeddings:
        raise UserError(
            f"training.max_seq_len ({config.training.max_seq_len:,}) is more than model.max_position_embeddings "
            f"({model.max_position_embeddings:,}).",
            "Lower the one or raise the other.",
        )
    plain = model.model_dump(exclude={"growth", "vocab_size"})
    try:
        return ArborConfig(
            **plain,
            vocab_size=model.vocab_size or needed,
            trained_context=config.training.max_seq_len,
            growth_factor=model.growth.factor,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    except ValueError as failure:
        raise UserError(f"This model cannot be made: {failure}", "Correct the section model.") from failure


def check_memory(config: PretrainConfig, shape: Any) -> None:
    """Refuse a model of ``shape`` that cannot be trained in the memory there is, before its corpus takes minutes.

    Args:
        shape: its ``ArborConfig``.

    Raises:
        UserError: it needs more than there is.
    """
    import psutil
    import torch

    from neuralforge.models.arbor.modeling import ArborForCausalLM
    from neuralforge.models.precision import choose_device

    if choose_device(config.run.device).type != "cpu":
        return
    if config.model.growth.enabled:
        shape = copy(shape)
        shape.intermediate_sizes = [int(width * config.model.growth.max) for width in shape.intermediate_sizes]
    with torch.device("meta"):
        count = ArborForCausalLM(shape).count_parameters()
    # Beside the parameters, what one window's head and layers keep for the backward.
    rows = config.training.batch_size * config.training.max_seq_len
    kept = 4 * rows * (12 * shape.hidden_size + 4 * max(shape.intermediate_sizes)) * shape.num_hidden_layers
    needed = PARAMETER_BYTES * count + (0 if config.training.gradient_checkpointing else kept)
    available = psutil.virtual_memory().available
    if needed > available:
        raise UserError(
            f"A model of {count:,} parameters and batches of {rows:,} tokens need about {needed >> 20:,} MiB; "
            f"{available >> 20:,} MiB are available.",
            "Choose a smaller model, --batch-size or --max-seq-len, or gradient_checkpointing.",
        )
