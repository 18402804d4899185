"""The tokenizer inside a GGUF file, with the text split the way the vocabulary was trained.

transformers reads these tokenizers too, but splits a vocabulary marked ``smollm`` (and its relatives) by the GPT-2
pattern alone. Those were trained with every digit split off first, which changes how white space before a digit is
cut (``x =  12``), so encodings would not be the ones the weights were trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralforge.errors import DataError, TrustError
from neuralforge.models.gguf.header import Header

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Values of `tokenizer.ggml.pre`, as llama.cpp assigns them (src/llama-vocab.cpp).
DIGITS_FIRST = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})
GPT2_PATTERN = frozenset({"gpt-2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe"})
_CONTROL, _USER_DEFINED = 3, 4


def read_tokenizer(header: Header) -> PreTrainedTokenizerBase:
    """Build the tokenizer that ``header`` describes.

    Raises:
        TrustError: token, type and merge lists do not fit together.
        DataError: the tokenizer is of a kind that cannot be read.
    """
    from transformers import AutoTokenizer

    if header.fields.get("tokenizer.ggml.model") == "gpt2" and (
        header.fields.get("tokenizer.ggml.pre") in DIGITS_FIRST | GPT2_PATTERN
    ):
        return _byte_level(header)
    try:
        return AutoTokenizer.from_pretrained(
            str(header.path.parent), gguf_file=header.path.name, trust_remote_code=False, local_files_only=True
        )
    except Exception as failure:
        raise DataError(
            f"The tokenizer inside {header.path.name} cannot be read: {failure}",
            "Use the model's safetensors files instead of its GGUF form.",
        ) from failure


def _byte_level(header: Header) -> PreTrainedTokenizerBase:
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokens = header.field("tokenizer.ggml.tokens", list)
    kinds = header.field("tokenizer.ggml.token_type", list, [1] * len(tokens))
    pairs = [tuple(merge.split(" ")) for merge in header.field("tokenizer.ggml.merges", list)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    sound = len(vocabulary) == len(tokens) == len(kinds) and all(
        len(pair) == 2 and pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary
        for pair in pairs
    )
    if not sound:
        raise TrustError(
            f"The vocabulary in {header.path.name} does not fit together.",
            "Tokens repeat, or merges name tokens that do not exist; fetch the file again.",
        )
    backend = Tokenizer(BPE(vocab=vocabulary, merges=pairs))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits_first = header.fields["tokenizer.ggml.pre"] in DIGITS_FIRST
    backend.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
        if digits_first
        else byte_level
    )
    backend.decoder = decoders.ByteLevel()
    for kind, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [
            AddedToken(token, normalized=False, special=special)
            for token, its_kind in zip(tokens, kinds, strict=True)
            if its_kind == kind
        ]
        (backend.add_special_tokens if special else backend.add_tokens)(added)

    named = {}
    for role, field in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        index = header.fields.get(f"tokenizer.ggml.{field}_token_id")
        if isinstance(index, int) and 0 <= index < len(tokens):
            named[f"{role}_token"] = tokens[index]
    template = header.fields.get("tokenizer.chat_template")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        add_prefix_space=False,
        chat_template=template if isinstance(template, str) else None,
        **named,
    )
