"""Markers are believed only when the tokenizer keeps them whole and the model has rows for them."""

import pytest
import torch

from neuralforge.errors import UserError
from neuralforge.models.fim import KNOWN, add_fim_tokens, find_fim_tokens
from neuralforge.models.generation import generate
from tests.tiny import tiny_base, tiny_tokenizer


@pytest.mark.parametrize("names", KNOWN)
def test_every_known_family_is_found(names: tuple[str, str, str]) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": list(names)})
    found = find_fim_tokens(tokenizer, len(tokenizer))
    assert found is not None
    assert [found.prefix, found.suffix, found.middle] == tokenizer.convert_tokens_to_ids(list(names))
    assert tokenizer.encode(f"a{names[1]}b", add_special_tokens=False)[1] == found.suffix


def test_rows_must_exist() -> None:
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": list(KNOWN[0])})
    assert find_fim_tokens(tokenizer, size + 2) is None
    assert find_fim_tokens(tokenizer, size + 3) is not None


def test_two_of_three_are_none() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": list(KNOWN[1][:2])})
    assert find_fim_tokens(tokenizer, 10_000) is None


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_added_markers_are_distinct_and_repeatable(architecture: str) -> None:
    one, two = tiny_base(architecture), tiny_base(architecture)
    before = one.model.get_input_embeddings().weight.clone()
    rows = [add_fim_tokens(base) for base in (one, two)]
    assert rows[0] == rows[1] == one.fim
    weight = one.model.get_input_embeddings().weight
    assert torch.equal(weight, two.model.get_input_embeddings().weight)
    assert torch.equal(weight[: len(before)], before)
    fresh = weight[[rows[0].prefix, rows[0].suffix, rows[0].middle]]
    assert len({tuple(row.tolist()) for row in fresh}) == 3
    assert one.model.get_output_embeddings().weight.shape[0] == weight.shape[0]
    assert find_fim_tokens(one.tokenizer, weight.shape[0]) == one.fim
    assert one.tokenizer.encode("<fim_middle>", add_special_tokens=False) == [rows[0].middle]
    assert len(generate(one, [[rows[0].prefix, 5, rows[0].middle]], max_new_tokens=2)[0]) <= 2
    with pytest.raises(UserError, match="already"):
        add_fim_tokens(one)


def test_encoder_decoders_have_sentinels_instead() -> None:
    with pytest.raises(UserError, match="sentinel"):
        add_fim_tokens(tiny_base("t5"))
