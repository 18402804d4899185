"""Judging with a model that has no weights: what is generated, what is measured, what is concluded."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.data.records import Example
from neuralforge.data.split import evenly_spaced
from neuralforge.errors import DataError
from neuralforge.evaluation import completions, judge
from neuralforge.evaluation import latency as latency_room
from neuralforge.evaluation.completions import Start, complete_prompts, completion_span, write_out
from neuralforge.evaluation.judge import prompt_tail
from neuralforge.models.generation import Writing
from neuralforge.runs.events import Event, Phase, Progress

from . import fakes

SOURCE = "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n"


@pytest.fixture(autouse=True)
def _weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "score_pair", fakes.score_pair)
    monkeypatch.setattr(judge, "score", fakes.score)
    monkeypatch.setattr(completions, "generate", fakes.generate)
    monkeypatch.setattr(latency_room, "generate", fakes.generate)


def held_out(count: int = 24) -> tuple[list[Example], list[fakes.FakeEncoded]]:
    examples, encoded = [], []
    for index in range(count):
        cut = 8 + index
        prompt, completion = SOURCE[:cut], SOURCE[cut : cut + 20]
        examples.append(Example(prompt, completion, language="python", path=f"{index}.py", commit=f"c{index % 12}"))
        encoded.append(fakes.encoded(prompt, completion, index))
    return examples, encoded


def test_an_adapter_that_knows_the_source_helps() -> None:
    examples, encoded = held_out()
    base = fakes.fake_base(fakes.following("nothing of the kind"), fakes.following(SOURCE))
    told: list[Event] = []
    verdict = judge.judge(
        base, examples, encoded, train_commits=["a"], held_out_commits=["b"], writing=Writing(6), emit=told.append
    )
    assert verdict.outcome == "helps"
    assert verdict.examples == 24
    assert verdict.tokens == 24 * 20
    assert len(verdict.samples) == 6
    similarity = verdict.comparison.metrics["edit_similarity"]
    assert similarity.examples == 6
    assert similarity.second > similarity.first
    assert base.model.enabled
    assert told[0] == Phase("judge", "24 held-out examples, base and adapter")
    assert any(isinstance(event, Progress) for event in told)


def test_samples_show_what_was_written() -> None:
    examples, encoded = held_out(8)
    base = fakes.fake_base(lambda ids: ord("x"), fakes.following(SOURCE))
    sample = judge.judge(base, examples, encoded, writing=Writing(2, 5)).samples[0]
    assert sample.target == SOURCE[8:13]
    assert sample.base == "xxxxx"
    assert SOURCE[:8].endswith(sample.prompt)
    assert sample.base_loss > sample.adapter_loss
    assert set(sample.to_json()) >= {"language", "path", "commit", "prompt", "target", "base", "adapter"}


def test_without_generation_there_is_no_similarity() -> None:
    examples, encoded = held_out()
    verdict = judge.judge(
        fakes.fake_base(fakes.following("?"), fakes.following(SOURCE)), examples, encoded, writing=Writing(0)
    )
    assert "edit_similarity" not in verdict.comparison.metrics
    assert verdict.samples == ()


def test_nothing_to_predict_is_an_error() -> None:
    base = fakes.fake_base(fakes.following("?"), fakes.following(SOURCE))
    with pytest.raises(DataError, match="None of the examples"):
        judge.judge(base, [Example("a", "")], [fakes.encoded("a", "")])


def test_the_same_seed_gives_the_same_json() -> None:
    examples, encoded = held_out()
    base = fakes.fake_base(fakes.following(SOURCE[:30]), fakes.following(SOURCE))
    assert (
        judge.judge(base, examples, encoded, seed=5).to_json() == judge.judge(base, examples, encoded, seed=5).to_json()
    )


letters = st.text("ab\n", min_size=1, max_size=12)


@settings(max_examples=60)
@given(
    items=st.lists(st.tuples(letters, letters), min_size=1, max_size=6),
    table=st.lists(st.sampled_from([ord("a"), ord("b"), ord("\n"), fakes.END]), min_size=16, max_size=16),
    clip=st.integers(1, 10),
    two_sided=st.booleans(),
)
def test_going_on_from_the_agreed_prefix_is_greedy_decoding(
    items: list[tuple[str, str]], table: list[int], clip: int, two_sided: bool
) -> None:
    """For any rule, the shortened generation writes what decoding from the prompt alone would."""

    def rule(ids: Sequence[int]) -> int:
        return table[(sum(ids[-3:]) + len(ids)) % 16]

    base = fakes.fake_base(rule, rule, encoder_decoder=two_sided)
    encoded = [fakes.encoded(prompt, completion, index) for index, (prompt, completion) in enumerate(items)]
    scored = fakes.score(base, encoded)
    starts = [Start.of(item, found, clip) for item, found in zip(encoded, scored, strict=True)]
    for start, (prompt, completion), text in zip(starts, items, write_out(base, starts, batch_size=3), strict=True):
        length = min(clip, len(completion))
        (greedy,) = fakes.generate(base, [list(map(ord, prompt))], max_new_tokens=length, stop=(fakes.END,))
        assert text == "".join(map(chr, greedy))
        assert start.target == list(map(ord, completion[:length]))


def test_prompts_are_completed_by_both() -> None:
    base = fakes.fake_base(lambda ids: ord("x"), lambda ids: ord("y"))
    (completion,) = complete_prompts(base, [("python", "import ")], new_tokens=3)
    assert (completion.base, completion.adapter) == ("xxx", "yyy")
    assert completion.to_json() == {"language": "python", "prompt": "import ", "base": "xxx", "adapter": "yyy"}


def test_spans_and_spacing() -> None:
    assert completion_span(np.array([False, True, True])) == (1, 2)
    assert evenly_spaced(5, 9) == [0, 1, 2, 3, 4]
    assert evenly_spaced(9, 0) == []
    assert len(set(evenly_spaced(200, 32))) == 32


def test_the_prompt_tail_is_short() -> None:
    assert prompt_tail("".join(f"{number}\n" for number in range(50))).splitlines()[0] == "40"
    assert len(prompt_tail("x" * 5000)) == 700


def test_latency_times_both_alike() -> None:
    base = fakes.fake_base(lambda ids: ord("x"), lambda ids: ord("y"))
    told: list[Event] = []
    off, on = latency_room.measure_latency(base, [[1], [2], [3]], new_tokens=4, emit=told.append)
    for found in (off, on):
        assert len(found.first_token) == 3
        assert len(found.per_token) == 9
        record = found.to_json()
        assert record["first_token"]["p50_ms"] <= record["first_token"]["p95_ms"]
        assert record["per_token"]["measured"] == 9
    assert told[-1] == Progress(3, 3, "prompts")
    assert base.model.enabled


def test_prompts_to_time_come_from_examples_or_from_nowhere_special() -> None:
    base = fakes.fake_base(lambda ids: ord("x"), lambda ids: ord("y"))
    _, encoded = held_out(30)
    prompts = latency_room.prompts_for(base, encoded, most=4)
    assert prompts[0] == list(map(ord, SOURCE[:8]))
    assert len(prompts) == 4
    assert len(latency_room.prompts_for(base, [], most=5)) == 5
    assert latency_room.measure_speed(base, prompts, new_tokens=2).to_json()["first_token"]["measured"] == 4
