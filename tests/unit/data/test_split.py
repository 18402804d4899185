import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.data.pipeline import prepare
from neuralforge.data.records import Example, Funnel
from neuralforge.data.split import Split, SplitOptions, split
from neuralforge.errors import UserError


def _code(seed: int, lines: int = 6) -> str:
    drawn = random.Random(seed)
    words = ["".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(lines * 4)]
    return "\n".join(
        f"{words[4 * n]} = {words[4 * n + 1]}({words[4 * n + 2]}, {words[4 * n + 3]})" for n in range(lines)
    )


def _history(sizes: list[int], files: int = 5) -> list[Example]:
    """One commit for each size, oldest first; every completion is different."""
    return [
        Example(
            prefix="",
            completion=_code(1_000 * commit + number),
            kind="hunk",
            path=f"file{number % files}.py",
            commit=f"{commit:040x}",
            author_time=1_000 + commit,
        )
        for commit, size in enumerate(sizes)
        for number in range(size)
    ]


def _divide(examples: list[Example], **options: float) -> tuple[Split, Funnel]:
    funnel = Funnel()
    funnel.keep(len(examples))
    return prepare(examples, SplitOptions(**options), funnel), funnel  # type: ignore[arg-type]


def test_the_newest_commits_are_held_out_whole() -> None:
    divided, funnel = _divide(_history([5] * 40))
    assert {example.commit for example in divided.held_out} == {f"{commit:040x}" for commit in range(36, 40)}
    assert (len(divided.train), len(divided.held_out)) == (180, 20)
    assert divided.train_commits == (f"{0:040x}", f"{35:040x}")
    assert divided.held_out_commits == (f"{36:040x}", f"{39:040x}")
    assert divided.by == "time"
    assert funnel.kept == 200


def test_a_cap_is_filled_evenly_from_several_commits_and_files() -> None:
    divided, funnel = _divide(_history([100] * 40), at_most=40)
    held = Counter(example.commit for example in divided.held_out)
    assert len(divided.held_out) == 40
    assert len(held) == 4
    assert max(held.values()) - min(held.values()) <= 1
    files = Counter((example.commit, example.path) for example in divided.held_out)
    assert max(files.values()) - min(files.values()) <= 1
    assert not {example.commit for example in divided.train} & set(held)
    assert funnel.dropped["split: rest of held-out commits"] == 4 * 100 - 40
    assert funnel.kept == len(divided.train) + len(divided.held_out)


def test_a_giant_newest_commit_is_sampled_and_its_rest_is_not_trained_on() -> None:
    divided, funnel = _divide(_history([3, 3, 3, 60]))
    assert {example.commit for example in divided.held_out} == {f"{3:040x}"}
    assert len(divided.held_out) == 7
    assert {example.path for example in divided.held_out} == {f"file{number}.py" for number in range(5)}
    assert len(divided.train) == 9
    assert funnel.dropped["split: rest of held-out commits"] == 53


def test_a_giant_older_commit_stays_in_training() -> None:
    divided, _ = _divide(_history([2, 500, 2, 2]))
    assert len(divided.train) == 502
    assert len(divided.held_out) == 4


def test_one_commit_is_split_by_file() -> None:
    divided, _ = _divide(_history([100], files=20))
    assert divided.by == "file"
    assert len(divided.held_out) == 10
    assert not {example.path for example in divided.train} & {example.path for example in divided.held_out}


def test_without_paths_and_times_content_decides() -> None:
    examples = [Example("", _code(number)) for number in range(100)]
    divided, _ = _divide(examples)
    assert divided.by == "content"
    assert (len(divided.train), len(divided.held_out)) == (90, 10)
    assert divided.train_commits == divided.held_out_commits == ()


def test_what_repeats_the_hold_out_leaves_training() -> None:
    examples = _history([5] * 20)
    newest = examples[-1]
    exact = Example("elsewhere", newest.completion + "\n", commit="a" * 40, author_time=1)
    near = Example("", newest.completion.replace("(", "(_", 1), commit="b" * 40, author_time=2)
    divided, funnel = _divide([exact, near, *examples])
    assert newest in divided.held_out
    assert exact not in divided.train
    assert near not in divided.train
    assert funnel.dropped["split: near duplicate of a held-out example"] == 2


def test_examples_without_a_time_are_past() -> None:
    untimed = [Example("", _code(90_000 + number)) for number in range(10)]
    divided, _ = _divide([*_history([2] * 20), *untimed])
    assert all(example in divided.train for example in untimed)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_examples(count: int) -> None:
    divided, _ = _divide([Example("", _code(number)) for number in range(count)])
    assert len(divided.train) == min(count, 1)
    assert len(divided.held_out) == max(0, count - 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.sampled_from([0.05, 0.1, 0.5]),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_and_order_does_not_matter(
    sizes: list[int], fraction: float, at_most: int, shuffler: random.Random
) -> None:
    examples = _history(sizes)
    divided, funnel = _divide(examples, fraction=fraction, at_most=at_most)
    assert funnel.seen == len(examples) == funnel.kept + funnel.dropped.total()
    assert funnel.kept == len(divided.train) + len(divided.held_out)
    assert len(divided.held_out) <= at_most
    if len(examples) > 1:
        assert divided.held_out
        assert divided.train
    if len(sizes) > 1:
        newest = max(example.author_time or 0 for example in divided.train)
        assert all((example.author_time or 0) > newest for example in divided.held_out)
    shuffled = list(examples)
    shuffler.shuffle(shuffled)
    again = split(shuffled, SplitOptions(fraction=fraction, at_most=at_most), Funnel())
    assert set(map(repr, again.held_out)) == set(map(repr, divided.held_out))
    assert set(map(repr, again.train)) == set(map(repr, divided.train))


@pytest.mark.parametrize("options", [{"fraction": 0}, {"fraction": 1}, {"at_most": 0}, {"near_duplicates": 0}])
def test_options_that_leave_a_side_empty_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError):
        SplitOptions(**options)  # type: ignore[arg-type]
