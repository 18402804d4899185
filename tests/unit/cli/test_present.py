import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.cli.figures import latency_table, verdict_table
from neuralforge.cli.present import clean, duration, line, show_json, size, table


@given(st.text())
def test_cleaned_text_can_do_nothing_to_a_terminal(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable() or not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in cleaned)
    cleaned.encode()
    assert clean(cleaned) == cleaned


def test_ordinary_text_is_left_alone() -> None:
    assert clean("src/naïve file—名前.py") == "src/naïve file—名前.py"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\x0ab"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egpj", "\\u202egpj"),
        ("\udcff", "\\udcff"),
    ],
)
def test_dangerous_text_is_escaped(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_table_aligns_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table(["Name", "N"], [("名", 7), ("x" * 200, 12345)], numbers=["N"])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["Name", "N"]
    assert rows[1].endswith("    7")
    assert rows[2] == "x" * 200 + "  12345"


def test_json_has_no_nan_and_takes_anything(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": math.nan, "b": (1, float("inf")), "c": "\udcff", 3: {"d"}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, None], "c": "\udcff", "3": ["d"]}


def test_a_line_survives_a_terminal_that_cannot_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    line("naïve 名")
    stream.flush()
    assert stream.buffer.getvalue() == b"na\\xefve \\u540d\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123456, "123 kB"), (1.53e9, "1.5 GB"), (2e13, "20.0 TB")],
)
def test_sizes(count: float, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_verdict_table(capsys: pytest.CaptureFixture[str]) -> None:
    verdict_table(
        {
            "metrics": {
                "loss": {"base": 2.5, "adapter": 2.25, "interval": [-0.3, -0.2]},
                "exact_match": {"base": 0.1, "adapter": 0.25, "interval": None},
            },
            "interval": {"level": 0.95},
        }
    )
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["loss", "2.500", "2.250", "-0.300", "to", "-0.200"]
    assert rows[2] == ["exact", "match", "10.0%", "25.0%", "-"]


def test_latency_table(capsys: pytest.CaptureFixture[str]) -> None:
    latency_table({"base": {"first_token": {"p50_ms": 12.34, "p95_ms": 20, "measured": 1000}}})
    assert capsys.readouterr().out.splitlines()[1].split() == ["base", "first", "token", "12.3", "20.0", "1,000"]
