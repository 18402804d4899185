import random

from neuralforge.data.records import Example, Funnel
from neuralforge.data.statistics import describe

DAY = 86_400


def _examples(count: int) -> list[Example]:
    drawn = random.Random(7)
    return [
        Example(
            "before\n",
            "\n".join(f"name{drawn.randrange(10**6)} = call{drawn.randrange(10**6)}(x)" for _ in range(5)),
            "after\n",
            kind="hunk",
            language="python" if number % 4 else "go",
            commit=f"{number // 5:040x}",
            author_time=number // 5 * DAY,
            licence="MIT",
        )
        for number in range(count)
    ]


def test_a_healthy_set() -> None:
    examples = _examples(1_000)
    found = describe(examples, Funnel(seen=5, kept=5), tokens_per_second=100.0, max_tokens=256)
    assert (found.examples, found.usable, found.problems, found.too_small) == (1_000, 1_000, {}, False)
    assert found.languages == {"python": 750, "go": 250}
    assert found.licences == {"MIT": 1_000}
    assert (found.commits, found.oldest, found.newest) == (200, 0, 199 * DAY)
    assert found.training_seconds == found.tokens / 100.0 or abs(found.training_seconds * 100 - found.tokens) < 1
    assert found.funnel is not None
    lengths = sorted(len(example.completion) for example in examples)
    assert abs(found.completion.median - lengths[500]) <= 0.02 * lengths[500] + 1
    assert found.completion.longest == lengths[-1]
    assert found.advice == ()


def test_problems_and_advice() -> None:
    key = "AK" + "IA" + "QWERTYUIOPLKJHGF"
    good = _examples(10)
    found = describe([*good, *good, Example("", "}"), Example("", f"connect_to('{key}')", licence="GPL-3.0-only")])
    assert found.usable == 10
    assert found.too_small
    assert found.exact_duplicates == 10
    assert found.secrets == {"AWS key id": 1}
    assert found.problems == {"exact duplicate": 10, "quality: trivial": 1, "secret: AWS key id": 1}
    said = " ".join(found.advice)
    for word in ("Only 10 usable", "secret", "repeat", "licence", "commits"):
        assert word in said
    assert found.to_json()["too_small"] is True


def test_nothing_at_all() -> None:
    found = describe([])
    assert (found.examples, found.tokens, found.completion.median) == (0, 0, 0)
    assert found.too_small


def test_speed_and_window_change_the_estimate() -> None:
    examples = _examples(100)
    assert describe(examples, tokens_per_second=10).training_seconds > 30 * describe(examples).training_seconds
    assert describe(examples, max_tokens=8).tokens == 800
