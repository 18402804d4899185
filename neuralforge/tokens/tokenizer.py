"""Training a byte-level BPE tokenizer (Sennrich et al. 2016, arXiv 1508.07909; bytes as in GPT-2).

Every byte is in the vocabulary, so any text can be written and read back exactly. Each digit is a token of its own, so
numbers are always cut alike; that and GPT-2's pattern are what GGUF calls the pre-tokenizer ``smollm``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neuralforge.errors import DataError, UserError
from neuralforge.models.fim import KNOWN
from neuralforge.tokens.encoding import well_formed

END_OF_TEXT, PADDING = "<|endoftext|>", "<|pad|>"
FIM = KNOWN[0]
CHAT = ("<|im_start|>", "<|im_end|>")
RESERVED = (END_OF_TEXT, PADDING, *FIM, *CHAT)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALLEST = 256 + len(RESERVED)
LARGEST = 1 << 20


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 8000, min_frequency: int = 2) -> Any:
    """Learn merges from ``texts`` and return a transformers ``PreTrainedTokenizerFast``.

    Args:
        texts: read once; what they say is not kept, only how often each word occurs.
        vocab_size: tokens in all: 256 bytes, the reserved ones, and merges as long as pairs are frequent enough.
        min_frequency: a pair that occurs less often is not merged.

    Raises:
        UserError: ``vocab_size`` or ``min_frequency`` is out of bounds.
        DataError: there is no text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if not SMALLEST <= vocab_size <= LARGEST:
        raise UserError(
            f"A vocabulary of {vocab_size:,} tokens cannot be made: 256 bytes and {len(RESERVED)} reserved tokens need "
            f"{SMALLEST}, and {LARGEST:,} is the most.",
            "Give --vocab-size 8000 for trying out, 32000 for real use.",
        )
    if min_frequency < 1:
        raise UserError(f"A pair occurs at least once, not {min_frequency} times.", "Give --min-frequency 2.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(RESERVED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    read = 0

    def counted() -> Iterable[str]:
        nonlocal read
        for text in texts:
            read += len(text)
            yield well_formed(text)

    tokenizer.train_from_iterator(counted(), trainer)
    if not read:
        raise DataError("There is no text to learn a tokenizer from.", "Give --data files that hold text.")
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        pad_token=PADDING,
        extra_special_tokens=[*FIM, *CHAT],
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = CHAT_TEMPLATE
    return made
