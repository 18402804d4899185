"""Metrics from teacher-forced predictions, checked against writing the text out."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.evaluation.metrics import (
    ScoreTable,
    edit_similarity,
    exact_match,
    first_line_end,
    first_line_match,
    summarise,
    tabulate,
    text_length,
)

from .fakes import FakeEncoded, FakeScored

VOCABULARY = ["a", "b", "\n", "\n  ", " ", "c\n", "c", "\n\n", ""]
END = 8


def pieces(ids: Sequence[int]) -> list[str]:
    return [VOCABULARY[token] for token in ids]


def array(values: Sequence[int]) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


def pair(targets: list[int], predicted: list[int], example: int = 0) -> tuple[FakeScored, FakeEncoded]:
    goal, guess = array(targets), array(predicted)
    scored = FakeScored(np.full(len(goal), 0.5, np.float32), goal == guess, guess, example)
    encoded = FakeEncoded(np.concatenate([[0], goal]).astype(np.int32), np.arange(len(goal) + 1) > 0, example)
    return scored, encoded


def test_totals_are_corpus_level() -> None:
    short, long = pair([0], [0]), pair([0, 1, 0], [1, 1, 1], example=1)
    short[0].nll[:] = 4.0
    table = tabulate([long[0], short[0]], [long[1], short[1]], pieces)
    values = summarise(table)
    assert table.examples.tolist() == [0, 1]
    assert values["loss"] == pytest.approx((4.0 + 1.5) / 4)
    assert values["perplexity"] == pytest.approx(np.exp(values["loss"]))
    assert values["accuracy"] == pytest.approx(0.5)
    assert values["exact_match"] == 0.5
    assert "edit_similarity" not in values


def test_an_example_in_pieces_is_one_row() -> None:
    first, second = pair([0, 1], [0, 1]), pair([0], [1])
    table = tabulate([first[0], second[0]], [first[1], second[1]], pieces)
    assert len(table) == 1
    assert table.tokens.tolist() == [3.0]
    assert table.exact.tolist() == [0.0]


def test_scores_of_other_examples_are_refused() -> None:
    one, other = pair([0], [0]), pair([0], [0], example=5)
    with pytest.raises(ValueError, match="not those of example 5"):
        tabulate([one[0]], [other[1]], pieces)


def test_an_example_without_supervised_tokens_is_left_out() -> None:
    scored, encoded = pair([], [])
    assert len(tabulate([scored], [encoded], pieces)) == 0


def test_a_wrong_end_marker_does_not_spoil_the_text() -> None:
    targets = array([0, 1, END])
    assert exact_match(targets, np.array([True, True, False]), frozenset({END}))
    assert not exact_match(targets, np.array([True, False, True]), frozenset({END}))
    assert text_length(targets, frozenset({END})) == 2


@pytest.mark.parametrize(
    ("texts", "end"),
    [(["a", "\n", "b"], 1), (["\n", "a", "b\n"], 2), (["a", "b"], None), (["\n", "  "], None), (["\n\n a\n"], 0)],
)
def test_where_the_first_line_ends(texts: list[str], end: int | None) -> None:
    assert first_line_end(texts) == end


def test_indentation_after_the_newline_belongs_to_the_next_line() -> None:
    newline, with_indent = VOCABULARY.index("\n"), VOCABULARY.index("\n  ")
    assert first_line_match(array([0, newline, 1]), array([0, with_indent, 0]), pieces, frozenset())
    assert not first_line_match(array([0, newline, 1]), array([0, 1, 1]), pieces, frozenset())
    assert not first_line_match(array([0, newline, 1]), array([1, newline, 1]), pieces, frozenset())


tokens = st.lists(st.integers(0, len(VOCABULARY) - 2), min_size=1, max_size=8)


@given(targets=tokens, noise=st.lists(st.integers(0, 2 * len(VOCABULARY)), min_size=8, max_size=8))
def test_exact_match_is_what_greedy_decoding_would_write(targets: list[int], noise: list[int]) -> None:
    """A model that predicts ``targets[i]`` except where noise says otherwise, decoded greedily."""
    predicted = [n if n < END else t for n, t in zip(noise, targets, strict=False)]
    written: list[int] = []
    for guess in predicted:
        written.append(guess)
        if guess != targets[len(written) - 1]:
            break
    goal, guess = array(targets), array(predicted)
    assert exact_match(goal, goal == guess, frozenset()) == (written == targets)
    if exact_match(goal, goal == guess, frozenset()):
        assert first_line_match(goal, guess, pieces, frozenset())


@given(st.text(max_size=30), st.text(max_size=30))
def test_edit_similarity_is_a_symmetric_share(first: str, second: str) -> None:
    value = edit_similarity(first, second)
    assert 0 <= value <= 1
    assert value == edit_similarity(second, first)
    assert (value == 1) == (first == second)


def test_similarity_is_filled_in_for_some_rows_only() -> None:
    ones = np.ones(3)
    table = ScoreTable(np.arange(3), ones, ones, ones, ones, ones, np.full(3, np.nan))
    filled = table.with_similarity([0, 2], [0.25, 0.75])
    assert summarise(filled)["edit_similarity"] == 0.5
    assert np.isnan(table.similarity).all()
