"""A corpus on disk: every token once, nothing on both sides, nothing believed that does not fit."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.errors import DataError, UserError
from neuralforge.tokens import shards
from neuralforge.tokens.batching import collate
from neuralforge.tokens.shards import Windows, open_corpus, tokenizer_digest, write_corpus
from neuralforge.tokens.tokenizer import train_tokenizer

TEXTS = [f"def f{number}(first):\n    return first + {number}\n" for number in range(60)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, vocab_size=300)


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 60), length=st.integers(1, 90), shard=st.integers(1, 400))
def test_every_token_is_predicted_once(tokenizer: Any, count: int, length: int, shard: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(TEXTS[:count], tokenizer, Path(folder), validation=0, shard_tokens=shard)
        assert open_corpus(Path(folder), tokenizer) == corpus
        whole = [id for text in TEXTS[:count] for id in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
        assert corpus.train_tokens == len(whole)
        windows = Windows(corpus, length)
        assert len(windows) == (len(whole) - 1) // length
        predicted = [int(id) for one in windows for id in one.ids[one.loss]]
        assert predicted == whole[1 : 1 + len(predicted)]
        assert len(whole) - 1 - len(predicted) < length
        for index, one in enumerate(windows):
            assert one.ids.tolist() == whole[index * length : (index + 1) * length + 1]


def test_both_sides_and_no_text_on_both(tokenizer: Any, tmp_path: Path) -> None:
    corpus = write_corpus([*TEXTS, *TEXTS], tokenizer, tmp_path, validation=0.3)
    assert corpus.documents == 120
    sides = []
    for side in ("train", "validation"):
        ids = np.concatenate([one.ids[:-1] for one in Windows(corpus, 1, side)])
        sides.append(set(tokenizer.decode(ids).split("<|endoftext|>")))
    assert corpus.validation_tokens > 0
    assert {text for text in sides[0] & sides[1] if text in TEXTS} == set()
    assert corpus.train_tokens + corpus.validation_tokens == 2 * sum(len(tokenizer(t)["input_ids"]) + 1 for t in TEXTS)


def test_windows_are_sequences_that_the_loop_can_batch(tokenizer: Any, tmp_path: Path) -> None:
    windows = Windows(write_corpus(TEXTS, tokenizer, tmp_path, validation=0), 32)
    batch = collate(windows, (3, 0))
    assert batch.tokens == 66
    assert batch.counts == (32, 32)
    assert batch.ids[1:33].tolist() == batch.targets[:32].tolist()
    assert [one.example for one in windows[1:3]] == [1, 2]
    assert windows[-1].example == len(windows) - 1
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_a_large_vocabulary_takes_four_bytes(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tokenizer), "get_vocab", lambda _: {"a": 70_000})
    corpus = write_corpus(TEXTS, tokenizer, tmp_path, validation=0)
    assert corpus.kind == "uint32"
    assert Windows(corpus, 8)[0].ids[:3].tolist() == tokenizer(TEXTS[0])["input_ids"][:3]


def test_a_writing_that_was_cut_short_is_no_corpus_and_is_replaced(tokenizer: Any, tmp_path: Path) -> None:
    def torn() -> Any:
        yield from TEXTS
        yield from TEXTS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(torn(), tokenizer, tmp_path, validation=0, shard_tokens=50)
    with pytest.raises(DataError):
        open_corpus(tmp_path)
    write_corpus(TEXTS[:2], tokenizer, tmp_path, validation=0)
    assert len(list(tmp_path.glob("*.tokens"))) == 1
    with pytest.raises(UserError, match="holds a corpus already"):
        write_corpus(TEXTS, tokenizer, tmp_path)


def test_another_tokenizer_and_damage_are_noticed(tokenizer: Any, tmp_path: Path) -> None:
    corpus = write_corpus(TEXTS, tokenizer, tmp_path, validation=0)
    with pytest.raises(DataError, match="another tokenizer"):
        open_corpus(tmp_path, train_tokenizer(TEXTS, vocab_size=280))
    shard = tmp_path / corpus.train[0].file
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="another size"):
        open_corpus(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"kind": "float64"}, {"train": [{"file": "../x", "tokens": 1, "digest": ""}]}, {"train": None}],
)
def test_a_manifest_that_cannot_be(tokenizer: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    write_corpus(TEXTS, tokenizer, tmp_path, validation=0)
    manifest = tmp_path / shards.MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(DataError):
        open_corpus(tmp_path)


def test_no_text(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        write_corpus([], tokenizer, tmp_path)


def test_markers_in_a_document_are_text(tokenizer: Any, tmp_path: Path) -> None:
    corpus = write_corpus(["a<|endoftext|>b<|im_start|>"], tokenizer, tmp_path, validation=0)
    ids = [int(one.ids[1]) for one in Windows(corpus, 1)]
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id


def test_the_digest_is_the_tokenizers_not_the_last_calls(tokenizer: Any) -> None:
    before = tokenizer_digest(tokenizer)
    tokenizer(["a", "a longer text"], padding=True, truncation=True, max_length=8)
    assert tokenizer_digest(tokenizer) == before


def test_a_changed_byte_is_found_when_asked_for_and_shares_are_checked(tokenizer: Any, tmp_path: Path) -> None:
    corpus = write_corpus(TEXTS, tokenizer, tmp_path, validation=0)
    open_corpus(tmp_path, verify=True)
    shard = tmp_path / corpus.train[0].file
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    with pytest.raises(DataError, match="not what was written"):
        open_corpus(tmp_path, verify=True)
    for share in (-0.1, 1.0, 2.0):
        with pytest.raises(UserError, match="share"):
            write_corpus(TEXTS, tokenizer, tmp_path / "other", validation=share)
