"""A tokenizer of our own: exact on any text, digits apart, markers whole."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from neuralforge.data.records import Example
from neuralforge.errors import DataError, UserError
from neuralforge.models.base import BaseModel
from neuralforge.models.fim import find_fim_tokens
from neuralforge.tokens.encoding import encode
from neuralforge.tokens.tokenizer import RESERVED, SMALLEST, train_tokenizer

TEXTS = ["def add(first, second):\n    return first + second\n" * 4, "total = 12345\n" * 3]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, vocab_size=320)


@given(text=st.text(max_size=80))
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not any(token in text for token in RESERVED):
        assert tokenizer.decode(ids) == text


def test_what_was_read_is_short_and_digits_stand_alone(tokenizer: Any) -> None:
    assert len(tokenizer("    return first")["input_ids"]) <= 4
    assert tokenizer.tokenize("12345") == list("12345")
    assert len(tokenizer) <= 320


def test_markers_are_whole_and_found(tokenizer: Any) -> None:
    for token in RESERVED:
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
    assert find_fim_tokens(tokenizer, len(tokenizer)) is not None
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.pad_token != tokenizer.eos_token
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_saved_it_is_the_same(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert loaded.chat_template == tokenizer.chat_template


def test_the_same_text_gives_the_same_tokenizer() -> None:
    one, two = (train_tokenizer(TEXTS, vocab_size=300).backend_tokenizer.to_str() for _ in range(2))
    assert one == two


def test_rare_pairs_are_not_merged() -> None:
    often = train_tokenizer(["abab cdcd"] * 3, vocab_size=400, min_frequency=3)
    never = train_tokenizer(["abab cdcd"] * 3, vocab_size=400, min_frequency=100)
    assert len(never) == SMALLEST < len(often)


def test_half_a_surrogate_pair_is_no_obstacle() -> None:
    made = train_tokenizer(["broken \ud800 text"] * 3, vocab_size=300)
    assert made.decode(made("broken ? text")["input_ids"]) == "broken ? text"


def test_what_cannot_be_trained() -> None:
    for size in (0, SMALLEST - 1, 1 << 21):
        with pytest.raises(UserError, match="cannot be made"):
            train_tokenizer(TEXTS, vocab_size=size)
    with pytest.raises(UserError, match="at least once"):
        train_tokenizer(TEXTS, vocab_size=300, min_frequency=0)
    with pytest.raises(DataError, match="no text"):
        train_tokenizer([], vocab_size=300)


def test_what_looks_like_a_marker_in_code_is_encoded_as_text(tokenizer: Any) -> None:
    base = BaseModel("a", "a", "d", None, tokenizer, None, False)
    example = Example("x = '<|endoftext|>'\n", "y = '<|fim_middle|>'\n")
    (one,) = encode([example], base, max_length=200)
    assert not {int(token) for token in one.ids} & set(tokenizer.convert_tokens_to_ids(list(RESERVED)))
    assert tokenizer.decode(one.ids) == example.prefix + example.completion
