from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.data.pipeline import CleaningOptions, clean, collect
from neuralforge.data.records import Example, Funnel
from neuralforge.data.split import SplitOptions, split
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Phase, Progress

KEY = "AK" + "IA" + "QWERTYUIOPLKJHGF"


class Listed:
    """A source that gives what it was given."""

    def __init__(self, examples: list[Example]) -> None:
        self._examples = examples

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        for example in self._examples:
            funnel.keep()
            yield example


_PARTS = st.sampled_from(
    [
        "",
        "}",
        "x = compute(1)\n",
        f"key = '{KEY}'\n",
        "\x00\x01",
        "line of code here\n" * 3,
        "a" * 600,
        "ok = first_value",
    ]
)
_ANY = st.builds(
    Example,
    prefix=_PARTS,
    completion=_PARTS,
    suffix=_PARTS,
    language=st.sampled_from(["python", "go"]),
    commit=st.none() | st.sampled_from(["a", "b", "c"]),
    author_time=st.none() | st.integers(0, 5),
    path=st.none() | st.sampled_from(["x", "y"]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_ANY, max_size=25), st.sampled_from(["drop", "redact", "keep"]), st.booleans())
def test_every_example_is_counted_once(examples: list[Example], secrets: str, balanced: bool) -> None:
    funnel = Funnel()
    options = CleaningOptions(secrets=secrets, balance=1.0 if balanced else None)  # type: ignore[arg-type]
    kept = collect(Listed(examples), options=options, funnel=funnel)
    assert funnel.seen == len(examples) == funnel.kept + funnel.dropped.total()
    assert funnel.kept == len(kept)
    if secrets != "keep":
        assert not any(KEY in example.prefix + example.completion + example.suffix for example in kept)
    divided = split(kept, SplitOptions(), funnel)
    assert funnel.seen == funnel.kept + funnel.dropped.total()
    assert funnel.kept == len(divided.train) + len(divided.held_out)
    assert all(count > 0 for count in funnel.dropped.values())


def test_a_secret_in_the_completion_drops_and_one_around_it_is_blanked() -> None:
    inside = Example("import os\n", f"connect_to('{KEY}')\n")
    around = Example(f"key = '{KEY}'\n", "connect_with(key, region)\n", f"# {KEY}\n")
    funnel = Funnel(seen=2, kept=2)
    (kept,) = clean([inside, around], CleaningOptions(), funnel)
    assert kept == Example("key = 'REDACTED'\n", "connect_with(key, region)\n", "# REDACTED\n")
    assert funnel.dropped == {"secret: AWS key id": 1}
    both = list(clean([inside, around], CleaningOptions(secrets="redact"), Funnel()))
    assert [example.completion for example in both] == ["connect_to('REDACTED')\n", "connect_with(key, region)\n"]
    assert list(clean([inside, around], CleaningOptions(secrets="keep"), Funnel())) == [inside, around]


def test_filters_can_be_switched_off() -> None:
    twice = [Example("", "}"), Example("", "}")]
    off = CleaningOptions(quality=None, exact_duplicates=False, near_duplicates=None)
    assert list(clean(twice, off, Funnel())) == twice
    assert list(clean(twice, CleaningOptions(quality=None), Funnel())) == twice[:1]


def test_progress_is_told() -> None:
    told: list[object] = []
    source = Listed([Example("", f"name_{n} = make_{n}({n * 7919})") for n in range(3)])
    collect(source, options=CleaningOptions(), funnel=Funnel(), emit=told.append)
    assert isinstance(told[0], Phase)
    assert told[-1] == Progress(3, 3, "examples", "3 seen")


@pytest.mark.parametrize(
    "options", [{"secrets": "hide"}, {"near_duplicates": 0.0}, {"near_duplicates": 2.0}, {"balance": 0.0}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UserError):
        CleaningOptions(**options)  # type: ignore[arg-type]
