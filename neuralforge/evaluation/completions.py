"""What a model writes: greedy completions of held-out examples and of free prompts.

A teacher-forced pass has already found how greedy decoding begins: it follows the true completion up to the first
wrong prediction, and then writes that prediction. Generation only has to go on from there, and an example that is
right throughout needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuralforge.evaluation.metrics import Pieces
from neuralforge.evaluation.subject import adapter_off
from neuralforge.models.base import BaseModel
from neuralforge.models.generation import generate
from neuralforge.runs.events import Emit, Progress, silent

if TYPE_CHECKING:
    from neuralforge.tokens.encoding import Encoded
    from neuralforge.training.scoring import Scored


@dataclass(frozen=True, slots=True)
class Start:
    """Where the completion of one example sets out.

    Attributes:
        prompt: token ids before the completion.
        target: the true ones, clipped to the number that is to be generated.
        agreed: how many of those the model finds by itself, one after the other.
        wrong: what it writes instead of the next, None when it finds all.
    """

    prompt: list[int]
    target: list[int]
    agreed: int
    wrong: int | None

    @classmethod
    def of(cls, item: Encoded, found: Scored, tokens: int, given: int = 0) -> Start:
        """From an example and its teacher-forced scores; at most ``tokens`` are generated, the first are ``given``."""
        begin, length = completion_span(item.loss)
        length = min(length, tokens)
        misses = given + np.flatnonzero(~found.correct[given:length])
        return cls(
            prompt=item.ids[:begin].tolist(),
            target=item.ids[begin : begin + length].tolist(),
            agreed=int(misses[0]) if len(misses) else length,
            wrong=int(found.predicted[misses[0]]) if len(misses) else None,
        )

    @property
    def known(self) -> list[int]:
        """What greedy decoding begins with: the tokens agreed on and the first that is not."""
        return self.target[: self.agreed] + ([] if self.wrong is None else [self.wrong])

    @property
    def missing(self) -> int:
        """Tokens still to be generated."""
        return len(self.target) - len(self.known)


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt as base and adapter complete it."""

    language: str
    prompt: str
    base: str
    adapter: str

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


def completion_span(loss: NDArray[np.bool_]) -> tuple[int, int]:
    """Beginning and length of the first run of supervised positions (a chat has one for each answer).

    >>> completion_span(np.array([False, False, True, True, False, True]))
    (2, 2)
    """
    begin = int(np.argmax(loss))
    stops = np.flatnonzero(~loss[begin:])
    return begin, int(stops[0]) if len(stops) else len(loss) - begin


def write_out(
    base: BaseModel, starts: Sequence[Start], *, batch_size: int, emit: Emit = silent, detail: str = ""
) -> list[str]:
    """Greedy completions, each of as many tokens as its target has, or fewer if the model ends the text."""
    stop = _end(base)
    done: dict[int, list[int]] = {}
    waiting: list[tuple[int, int]] = []
    for index, start in enumerate(starts):
        if not start.missing or start.wrong in stop:
            done[index] = start.known
        else:
            # An encoder-decoder begins its own answer, so there the known tokens are generated once more.
            waiting.append((len(start.target) if base.encoder_decoder else start.missing, index))
    waiting.sort()
    for begin in range(0, len(waiting), batch_size):
        batch = [starts[index] for _, index in waiting[begin : begin + batch_size]]
        heads = [[] if base.encoder_decoder else start.known for start in batch]
        written = generate(
            base,
            [start.prompt + head for start, head in zip(batch, heads, strict=True)],
            max_new_tokens=[missing for missing, _ in waiting[begin : begin + batch_size]],
            stop=stop,
        )
        for (_, index), head, tail in zip(waiting[begin:], heads, written, strict=False):
            done[index] = [*head, *tail]
        emit(Progress(begin + len(batch), len(waiting), "completions", detail))
    return [decode(base, done[index]) for index in range(len(starts))]


def complete_prompts(
    base: BaseModel, prompts: Sequence[tuple[str, str]], *, new_tokens: int = 48, emit: Emit = silent
) -> list[Completion]:
    """Complete (language, text) prompts greedily without and with the attached adapter."""
    ids = [[int(token) for token in base.tokenizer(text)["input_ids"]] for _, text in prompts]
    with adapter_off(base):
        before = generate(base, ids, max_new_tokens=new_tokens, stop=_end(base))
    emit(Progress(len(prompts), 2 * len(prompts), "completions", "base"))
    after = generate(base, ids, max_new_tokens=new_tokens, stop=_end(base))
    emit(Progress(2 * len(prompts), 2 * len(prompts), "completions", "adapter"))
    return [
        Completion(language, text, decode(base, old), decode(base, new))
        for (language, text), old, new in zip(prompts, before, after, strict=True)
    ]


def decode(base: BaseModel, ids: Sequence[int]) -> str:
    """Text of token ids, without special tokens and without tidied spaces."""
    return str(base.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def piece_texts(base: BaseModel) -> Pieces:
    """A function from token ids to their texts, one by one, that remembers what it has decoded."""
    known: dict[int, str] = {}

    def pieces(ids: Sequence[int]) -> list[str]:
        for token in ids:
            if token not in known:
                known[token] = str(base.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return [known[token] for token in ids]

    return pieces


def _end(base: BaseModel) -> tuple[int, ...]:
    end = base.tokenizer.eos_token_id
    return () if end is None else (int(end),)
