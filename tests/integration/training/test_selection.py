"""Which sequences a budget buys: the newest, every file in its turn, nothing twice, and the same ones again."""

from __future__ import annotations

import random

import pytest

from neuralforge.data.records import Example
from neuralforge.tokens.encoding import encode
from neuralforge.tokens.overlap import HeldOut
from neuralforge.training import selection
from neuralforge.training.selection import Selection
from neuralforge.training.trainer import LoRATrainer
from tests.tiny import tiny_base

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]


def code(seed: str, words: int = 60) -> str:
    chooser = random.Random(seed)
    return " ".join(chooser.choice(WORDS) for _ in range(words)) + "\n"


def edit(time: int, path: str, text: str, offset: int = 0) -> Example:
    return Example(
        "", text, kind="hunk", path=path, commit=f"commit {time}", author_time=time, offset=offset, language="text"
    )


def history(commits: int = 6, files: int = 4) -> list[Example]:
    return [edit(time, f"{name}.py", code(f"{time} {name}")) for time in range(commits) for name in range(files)]


@pytest.fixture(scope="module")
def trainer() -> LoRATrainer:
    return LoRATrainer(tiny_base("llama"), max_length=384)


def test_the_newest_come_first_and_files_take_turns(trainer: LoRATrainer) -> None:
    train = history()
    chosen = Selection(trainer, train, HeldOut([])).first(12)
    told = [(train[one.example].author_time, train[one.example].path) for one in chosen]
    assert [time for time, _ in told] == [5] * 4 + [4] * 4 + [3] * 4
    assert {path for _, path in told[:4]} == {f"{name}.py" for name in range(4)}


def test_what_was_chosen_already_is_passed_over(trainer: LoRATrainer) -> None:
    old, new = edit(1, "a.py", code("same")), edit(2, "b.py", code("same"))
    other = edit(0, "a.py", code("other"))
    found = Selection(trainer, [other, old, new], HeldOut([]))
    assert [one.example for one in found.first(9)] == [2, 0]
    assert found.repeated == 1


def test_what_repeats_in_part_is_taken_up_when_nothing_else_is_left(trainer: LoRATrainer) -> None:
    new = edit(3, "a.py", code("one") + code("two"))
    part = edit(2, "b.py", code("one") + code("three", 40))  # older, and two fifths of it are new
    same = edit(1, "c.py", code("one") + code("two"))
    oldest = edit(0, "d.py", code("four"))
    found = Selection(trainer, [oldest, same, part, new], HeldOut([]))
    assert [one.example for one in found.first(2)] == [3, 0]
    assert found.repeated == 2
    assert [one.example for one in found.first(9)] == [3, 0, 2]
    assert found.repeated == 1


def test_held_out_text_is_never_chosen(trainer: LoRATrainer) -> None:
    train = history(2)
    future = encode([edit(9, "z.py", train[5].completion)], trainer.base, max_length=384)
    chosen = Selection(trainer, train, HeldOut(future)).first(99)
    assert 5 not in {one.example for one in chosen}
    assert len(chosen) == len(train) - 1


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_a_second_selection_finds_the_same_whatever_was_asked_between(
    trainer: LoRATrainer, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(selection, "CHUNK", chunk)
    train = history()
    one, two = Selection(trainer, train, HeldOut([])), Selection(trainer, train, HeldOut([]))
    one.first(3)
    first, second = one.first(10), two.first(10)
    assert [a.ids.tolist() for a in first] == [b.ids.tolist() for b in second]
    assert [a.example for a in first] == [b.example for b in second]


def test_only_as_much_is_tokenised_as_is_asked_for(trainer: LoRATrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "CHUNK", 4)
    seen: list[int] = []
    whole = trainer.encode

    def counting(examples: list[Example]) -> object:
        seen.append(len(examples))
        return whole(examples)

    monkeypatch.setattr(trainer, "encode", counting)
    Selection(trainer, history(), HeldOut([])).first(3)
    assert sum(seen) == 4


def test_shared_sequences_name_examples_of_the_whole_list(trainer: LoRATrainer) -> None:
    first, second = code("first"), code("second")
    near = [
        edit(3, "a.py", first),
        Example(first, second, kind="hunk", path="a.py", commit="commit 3", author_time=3, offset=len(first)),
    ]
    train = [*history(2), *near]
    (shared,) = Selection(trainer, train, HeldOut([])).first(1)
    assert {shared.example, *shared.others} == {len(train) - 2, len(train) - 1}
