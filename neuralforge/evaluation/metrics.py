"""What a model's predictions are worth, example by example. Pure: arrays in, arrays out, no model and no torch.

Everything but edit similarity comes from one teacher-forced pass, in which the model predicts each token of the
true completion from the true text before it. Greedy decoding reproduces a completion exactly if and only if every
one of those predictions is right: by induction, as long as all of them were, the text that was generated is the
text that was given. So exact match and first-line match need no generation.

Conventions:

* loss is corpus level: the sum over examples of negative log-likelihoods divided by the sum of token counts, in
  nats per token, and perplexity is ``exp(loss)``. Long completions weigh more than short ones.
* blank tokens at the beginning of a completion (the newlines and the indentation around the cursor, which tokens
  cannot tell apart from what was typed before it) count for loss and accuracy, but are taken as given for matches and
  for generated text.
* exact match asks for the completion's text: special tokens at its end (an end-of-text marker) count for loss and
  accuracy, but not here.
* the first line ends with the first token that contains a newline after something other than white space. All
  tokens before that one have to be right, and of that one the text before its newline and the newline itself, for
  what follows (the next line's indentation, in many tokenizers the same token) belongs to the next line. A
  completion of one line has to match wholly.
* edit similarity is ``1 - d / max(length)`` with d the Levenshtein distance in characters (Levenshtein 1966), and 1
  for two empty texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from neuralforge.tokens.encoding import Encoded
    from neuralforge.training.scoring import Scored

Floats = NDArray[np.float64]
Pieces = Callable[[Sequence[int]], Sequence[str]]
"""Turns token ids into their texts, one text a token."""

RATIOS = ("loss", "accuracy", "exact_match", "first_line_match", "edit_similarity")
METRICS = ("loss", "perplexity", "accuracy", "exact_match", "first_line_match", "edit_similarity")
LOWER_IS_BETTER = frozenset({"loss", "perplexity"})


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """One model's scores on E examples, a row an example.

    Attributes:
        examples: [E] index of the example.
        nll: [E] sum of negative log-likelihoods over the completion's tokens, in nats.
        tokens: [E] number of those tokens.
        correct: [E] how many of them were the most likely prediction.
        exact: [E] 1.0 where the whole completion would have been generated, else 0.0.
        first_line: [E] 1.0 where its first line would have been, else 0.0.
        similarity: [E] edit similarity between 0 and 1, NaN where no text was generated.
    """

    examples: NDArray[np.int64]
    nll: Floats
    tokens: Floats
    correct: Floats
    exact: Floats
    first_line: Floats
    similarity: Floats

    def __len__(self) -> int:
        return len(self.examples)

    def parts(self) -> tuple[Floats, Floats]:
        """Numerators and denominators [E, 5] in the order of ``RATIOS``; a metric is the ratio of their sums."""
        ones = np.ones(len(self))
        measured = np.isfinite(self.similarity)
        numerators = (self.nll, self.correct, self.exact, self.first_line, np.where(measured, self.similarity, 0.0))
        denominators = (self.tokens, self.tokens, ones, ones, measured.astype(np.float64))
        return np.stack(numerators, axis=1), np.stack(denominators, axis=1)

    def with_similarity(self, rows: Sequence[int], values: Sequence[float]) -> ScoreTable:
        """The same table with edit similarity filled in for ``rows``."""
        similarity = self.similarity.copy()
        similarity[list(rows)] = values
        return replace(self, similarity=similarity)


def ratios(numerators: Floats, denominators: Floats) -> Floats:
    """Elementwise quotient, NaN where nothing was measured."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominators > 0, numerators / denominators, np.nan)


def summarise(table: ScoreTable) -> dict[str, float]:
    """Every metric of a table, by name; a metric that was not measured is left out.

    >>> one = np.ones(1)
    >>> table = ScoreTable(np.zeros(1, np.int64), 6 * one, 4 * one, 3 * one, 0 * one, one, np.nan * one)
    >>> [(name, round(value, 3)) for name, value in summarise(table).items()][:3]
    [('loss', 1.5), ('perplexity', 4.482), ('accuracy', 0.75)]
    """
    numerators, denominators = table.parts()
    values = dict(zip(RATIOS, ratios(numerators.sum(axis=0), denominators.sum(axis=0)).tolist(), strict=True))
    values["perplexity"] = float(np.exp(values["loss"]))
    return {name: values[name] for name in METRICS if np.isfinite(values[name])}


def tabulate(
    scored: Sequence[Scored], encoded: Sequence[Encoded], pieces: Pieces, special: frozenset[int] = frozenset()
) -> ScoreTable:
    """Turn one teacher-forced pass into a table with a row an example, in order of the example's index.

    Args:
        scored: what the pass found, aligned with ``encoded``.
        encoded: the examples as token ids; an example that was cut into several is put together again.
        pieces: texts of token ids.
        special: ids that carry no text.

    Raises:
        ValueError: the two do not belong together.
    """
    joined: dict[int, list[tuple[Scored, NDArray[np.int32]]]] = {}
    for score, item in zip(scored, encoded, strict=True):
        targets = item.ids[item.loss]
        if score.example != item.example or len(score.nll) != len(targets):
            raise ValueError(f"the scores of example {score.example} are not those of example {item.example}")
        if len(targets):
            joined.setdefault(item.example, []).append((score, targets))
    rows: list[tuple[float, ...]] = []
    order = sorted(joined)
    for index in order:
        chunks = joined[index]
        nll = np.concatenate([score.nll for score, _ in chunks]).astype(np.float64)
        correct = np.concatenate([score.correct for score, _ in chunks])
        predicted = np.concatenate([score.predicted for score, _ in chunks])
        targets = np.concatenate([target for _, target in chunks])
        given = blank_lead(pieces(targets.tolist()))
        rows.append(
            (
                float(nll.sum()),
                float(len(nll)),
                float(correct.sum()),
                float(exact_match(targets[given:], correct[given:], special)),
                float(first_line_match(targets[given:], predicted[given:], pieces, special)),
            )
        )
    columns = np.asarray(rows, dtype=np.float64).reshape(len(rows), 5)
    return ScoreTable(
        examples=np.asarray(order, dtype=np.int64),
        nll=columns[:, 0],
        tokens=columns[:, 1],
        correct=columns[:, 2],
        exact=columns[:, 3],
        first_line=columns[:, 4],
        similarity=np.full(len(rows), np.nan),
    )


def exact_match(targets: NDArray[np.int32], correct: NDArray[np.bool_], special: frozenset[int]) -> bool:
    """Whether greedy decoding would write the completion's text."""
    return bool(correct[: text_length(targets, special)].all())


def first_line_match(
    targets: NDArray[np.int32], predicted: NDArray[np.int32], pieces: Pieces, special: frozenset[int]
) -> bool:
    """Whether greedy decoding would write the completion's first line (convention: top of this module)."""
    length = text_length(targets, special)
    texts = pieces(targets[:length].tolist())
    end = first_line_end(texts)
    if end is None:
        return bool((predicted[:length] == targets[:length]).all())
    if not (predicted[:end] == targets[:end]).all():
        return False
    if predicted[end] == targets[end]:
        return True
    wanted, found = texts[end], pieces([int(predicted[end])])[0]
    # Blank text in front may hold newlines of its own; the line's is the first one after something visible.
    start = len(wanted) - len(wanted.lstrip()) if not "".join(texts[:end]).strip() else 0
    cut = wanted.index("\n", start) + 1
    return found[:cut] == wanted[:cut]


def blank_lead(texts: Sequence[str]) -> int:
    """How many tokens at the beginning are white space and nothing else; 0 where all are."""
    for index, text in enumerate(texts):
        if text.strip():
            return index
    return 0


def first_line_end(texts: Sequence[str]) -> int | None:
    """Index of the token that ends the first line, or None when the text has only one."""
    visible = False
    for index, text in enumerate(texts):
        tail = text if visible else text.lstrip()
        visible = visible or bool(tail)
        if visible and "\n" in tail:
            return index
    return None


def text_length(targets: NDArray[np.int32], special: frozenset[int]) -> int:
    """Number of tokens before the special ones at the end."""
    length = len(targets)
    while length and int(targets[length - 1]) in special:
        length -= 1
    return length


def edit_similarity(first: str, second: str) -> float:
    """``1 - Levenshtein / longer length``: 1 for equal texts, 0 for texts with nothing in common.

    >>> edit_similarity("return x", "return y")
    0.875
    """
    return float(Levenshtein.normalized_similarity(first, second))
