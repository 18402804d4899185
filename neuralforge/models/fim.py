"""Fill-in-the-middle markers: those a base was trained with, or new ones when asked for.

Method: Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle" (arXiv 2207.14255).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuralforge.errors import UserError
from neuralforge.models.base import BaseModel, FimTokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Key under which a manifest's training settings say that ``add_fim_tokens`` was called on the base.
ADDED_FIM = "added_fim_tokens"

# (prefix, suffix, middle) in the order prefix-suffix-middle. Codestral's [SUFFIX]…[PREFIX]… is left out on purpose:
# it was trained in the other order only, without a middle marker.
KNOWN = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, StarCoder2, StableCode, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
)
ADDED = KNOWN[1]


def find_fim_tokens(tokenizer: PreTrainedTokenizerBase | Any, embeddings: int) -> FimTokens | None:
    """The markers that ``tokenizer`` keeps whole and that have a row among ``embeddings``, or None.

    A string in the vocabulary is not enough: unless it is registered as an added token, text is cut before it is
    seen. A registered token beyond the embedding table would crash the model.
    """
    registered = {str(token): index for index, token in tokenizer.added_tokens_decoder.items()}
    for names in KNOWN:
        ids = [registered.get(name, embeddings) for name in names]
        if max(ids) < embeddings and len(set(ids)) == 3:
            return FimTokens(*ids)
    return None


def add_fim_tokens(base: BaseModel) -> FimTokens:
    """Give a base without markers three new ones (``<fim_prefix>``, ``<fim_suffix>``, ``<fim_middle>``).

    ``base`` is changed in place: tokenizer, embedding table (enlarged only where it has no spare rows) and ``fim``.
    A new row is the mean of the rows that spell its name, so the result depends on nothing but the base: whoever
    loads the same base and calls this gets the same network, and the three markers differ from each other.
    The markers mean nothing until an adapter is trained with them.

    Raises:
        UserError: the base already has markers, or is an encoder-decoder (those fill in by sentinels).
    """
    import torch

    if base.fim is not None:
        raise UserError(f"{base.name} already has fill-in-the-middle tokens.", "Leave out the request to add some.")
    if base.encoder_decoder:
        raise UserError(
            f"{base.name} is an encoder-decoder; it fills in text by its sentinel tokens.",
            "Leave out the request to add fill-in-the-middle tokens.",
        )
    model: Any = base.model
    spelled = [base.tokenizer.encode(name, add_special_tokens=False) for name in ADDED]
    base.tokenizer.add_special_tokens({"extra_special_tokens": list(ADDED)}, replace_extra_special_tokens=False)
    ids = [int(index) for index in base.tokenizer.convert_tokens_to_ids(list(ADDED))]
    if max(ids) >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    with torch.no_grad():
        # A tied head is the same tensor: the second pass writes the same values again.
        fresh = [
            [table.weight[pieces].float().mean(dim=0) for pieces in spelled] for table in tables if table is not None
        ]
        for table, rows in zip([table for table in tables if table is not None], fresh, strict=True):
            for index, row in zip(ids, rows, strict=True):
                table.weight[index] = row.to(table.weight.dtype)
    base.fim = FimTokens(*ids)
    return base.fim
