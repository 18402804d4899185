"""Which examples an adapter is judged on."""

import json
from pathlib import Path

import pytest

from neuralforge.data.records import Example, Funnel
from neuralforge.errors import DataError, UserError
from neuralforge.evaluation import controls, memory
from neuralforge.evaluation.prompts import neutral_prompts
from neuralforge.evaluation.testset import later_commits, read_test_set
from neuralforge.runs.events import Event, Note


def history(count: int = 10) -> list[Example]:
    return [Example("a", "b", commit=commit(index), author_time=1000 + index) for index in range(count)]


def commit(index: int) -> str:
    return f"{index:x}".ljust(40, "a")


def test_only_later_commits_are_taken() -> None:
    found = later_commits(history()[::-1], (commit(0), commit(6)), source="repo", max_examples=50)
    assert [example.author_time for example in found.examples] == [1007, 1008, 1009]
    assert found.held_out_commits == (commit(7), commit(9))


def test_a_great_commit_does_not_crowd_out_the_others() -> None:
    great = [Example("a", f"b{n}", commit=commit(9), author_time=1009, path=f"{n}.py") for n in range(50)]
    found = later_commits([*history(9), *great], (commit(2)[:8],), source="repo", max_examples=7)
    assert [example.author_time for example in found.examples] == list(range(1003, 1010))


def test_an_unknown_history_is_said() -> None:
    told: list[Event] = []
    found = later_commits(history(), ("ffff", "eeee"), source="repo", max_examples=4, emit=told.append)
    assert found.held_out_commits == ()
    assert isinstance(told[0], Note)
    assert told[0].level == "warning"


def test_when_the_training_ended_is_enough_to_know_what_is_later() -> None:
    """Its newest commit may give no example any more: a near duplicate of a later one is dropped."""
    found = later_commits(history(), ("ffff", "eeee"), 1006, source="repo", max_examples=50)
    assert [example.author_time for example in found.examples] == [1007, 1008, 1009]
    assert found.held_out_commits == (commit(7), commit(9))


def test_nothing_later_is_an_error() -> None:
    with pytest.raises(DataError, match="no usable commit after"):
        later_commits(history(), (commit(9),), source="repo", max_examples=4)
    with pytest.raises(DataError, match="No usable example"):
        later_commits([], (), source="repo", max_examples=4)


def test_a_file_is_read_and_a_large_one_is_drawn_from(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"context": "a", "completion": f"b{n}"}) + "\n" for n in range(40)))
    everything = read_test_set(test_file=path, from_git=None)
    drawn = read_test_set(test_file=path, from_git=None, max_examples=10, seed=1)
    again = read_test_set(test_file=path, from_git=None, max_examples=10, seed=1)
    assert everything is not None
    assert drawn is not None
    assert len(everything.examples) == 40
    assert drawn == again
    numbers = [int(example.completion[1:]) for example in drawn.examples]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 10
    assert max(numbers) > 9


def test_one_source_at_most(tmp_path: Path) -> None:
    assert read_test_set(test_file=None, from_git=None) is None
    with pytest.raises(UserError, match="Both"):
        read_test_set(test_file=tmp_path / "x", from_git="repo")
    with pytest.raises(UserError, match="at least 1"):
        read_test_set(test_file=tmp_path / "x", from_git=None, max_examples=0)


def test_neutral_prompts_take_turns() -> None:
    assert [name for name, _ in neutral_prompts(["go", "klingon", "java"], 4)] == ["go", "java", "go", "java"]
    assert {name for name, _ in neutral_prompts([])} == {"python"}


def test_control_examples_come_from_the_standard_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Source:
        def __init__(self, location: str) -> None:
            self.location = location

        def examples(self, funnel: Funnel, emit: object) -> list[Example]:
            funnel.keep(5)
            return [Example("import os\n", f"value_{number} = open('{self.location}')\n") for number in range(5)]

    for package in ("json", "email", "site-packages"):
        (tmp_path / package).mkdir()
    monkeypatch.setattr(controls.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(controls, "open_source", lambda kind, location, options: Source(location))
    found = controls.control_examples(6, seed=3)
    assert len(found) == 6
    assert found == controls.control_examples(6, seed=3)
    assert not any("site-packages" in example.completion for example in found)
    with pytest.raises(DataError, match="needs 11"):
        controls.control_examples(11)


def test_peak_memory_is_at_least_what_is_in_use() -> None:
    import psutil

    block = bytearray(30_000_000)
    assert memory.peak_memory() >= len(block)
    assert memory.peak_memory() >= 0.9 * psutil.Process().memory_info().rss


def test_stored_size_counts_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "sub" / "b").write_bytes(b"4567")
    assert memory.stored_size(tmp_path) == 7
    assert memory.stored_size(tmp_path / "a") == 3
