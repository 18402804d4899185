"""A language model without weights: a rule for the next character, and the same rule with an adapter attached."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuralforge.models.base import BaseModel

END = 0
Rule = Callable[[Sequence[int]], int]


class CharacterTokenizer:
    """One token a character; 0 ends a text."""

    eos_token_id = END
    all_special_ids = (END,)

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        return "".join("" if token == END else chr(token) for token in ids)


class FakeModel:
    """Knows which rule is in force."""

    def __init__(self, base: Rule, adapter: Rule) -> None:
        self.base, self.adapter, self.enabled = base, adapter, True

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        self.enabled = False
        try:
            yield
        finally:
            self.enabled = True

    def next(self, ids: Sequence[int]) -> int:
        return (self.adapter if self.enabled else self.base)(ids)

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        yield from ()


@dataclass
class FakeEncoded:
    ids: np.ndarray
    loss: np.ndarray
    example: int
    group: str = ""


@dataclass
class FakeScored:
    nll: np.ndarray
    correct: np.ndarray
    predicted: np.ndarray
    example: int
    group: str = ""


def fake_base(base: Rule, adapter: Rule, *, encoder_decoder: bool = False) -> BaseModel:
    return BaseModel(
        name="fake",
        identity="fake:1",
        digest="sha256:" + "0" * 64,
        model=FakeModel(base, adapter),
        tokenizer=CharacterTokenizer(),
        fim=None,
        encoder_decoder=encoder_decoder,
    )


def encoded(prompt: str, completion: str, example: int = 0) -> FakeEncoded:
    ids = np.array([ord(character) for character in prompt + completion], dtype=np.int32)
    return FakeEncoded(ids, np.arange(len(ids)) >= len(prompt), example)


def score(base: BaseModel, items: Sequence[FakeEncoded], *, emit: Any = None) -> list[FakeScored]:
    found = []
    for item in items:
        places = np.flatnonzero(item.loss)
        predicted = np.array([base.model.next(item.ids[:place].tolist()) for place in places], dtype=np.int32)
        correct = predicted == item.ids[places]
        found.append(FakeScored(np.where(correct, 0.1, 3.0).astype(np.float32), correct, predicted, item.example))
    return found


def score_pair(
    base: BaseModel, items: Sequence[FakeEncoded], *, emit: Any = None
) -> tuple[list[FakeScored], list[FakeScored]]:
    with base.model.disable_adapter():
        off = score(base, items)
    return off, score(base, items)


def generate(
    base: BaseModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    stop: Sequence[int] = (),
    temperature: float = 0.0,
    seed: int | None = None,
    on_tokens: Callable[..., None] | None = None,
) -> list[list[int]]:
    texts: list[list[int]] = [[] for _ in prompts]
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    for _ in range(max(limits, default=0)):
        for prompt, text, limit in zip(prompts, texts, limits, strict=True):
            if len(text) < limit and not (text and text[-1] in stop):
                text.append(base.model.next([*prompt, *text]))
        if on_tokens is not None:
            on_tokens(texts)
    return [text[:-1] if text and text[-1] in stop else text for text in texts]


def following(text: str, otherwise: str = "?") -> Rule:
    """Continues ``text`` wherever the ids so far end like a part of it, else writes ``otherwise``."""

    def rule(ids: Sequence[int]) -> int:
        tail = "".join(map(chr, ids))[-3:]
        place = text.find(tail)
        at = place + len(tail)
        return ord(otherwise) if place < 0 else ord(text[at]) if at < len(text) else END

    return rule
