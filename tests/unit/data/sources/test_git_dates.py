"""Dates: what git understands is passed on, what it would silently take for now is refused."""

import time

import pytest

from neuralforge.data.sources.git.dates import timestamp
from neuralforge.errors import UserError

DAY = 86_400


@pytest.fixture
def directory(history):
    return history.path / ".git"


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("6 months ago", 183),
        ("6.months.ago", 183),
        ("two weeks ago", 14),
        ("1 year 2 months ago", 426),
        ("yesterday", 1),
        ("last week", 7),
        ("36 hours ago", 1.5),
    ],
)
def test_relative_dates(directory, text, days):
    assert timestamp(text, "--since", directory) == pytest.approx(time.time() - days * DAY, abs=3.5 * DAY)


def test_absolute_dates(directory, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    assert timestamp("2024-01-31", "--since", directory) == 1_706_659_200
    assert timestamp("2024-01-31", "--until", directory) == 1_706_659_200 + DAY - 1
    assert timestamp("2024-01-31 12:00:00 +0200", "--since", directory) == 1_706_695_200
    assert timestamp("2024-01-31T10:00:00Z", "--since", directory) == 1_706_695_200
    assert timestamp("@1700000000", "--since", directory) == 1_700_000_000
    assert timestamp("Jan 31 2024 10:00", "--since", directory) == 1_706_695_200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "soon",
        "6 monhts ago",
        "2024-13-01",
        "2024-02-30",
        "6 months",
        "5",
        "ago",
        "the",
        "--all",
        "2024-01",
        "next year",
        "$(date)",
        "@",
        "@12x",
        "@yesterday",
        "@99999999999999",
        "42 ago",
    ],
)
def test_nonsense_is_refused(directory, text):
    with pytest.raises(UserError):
        timestamp(text, "--since", directory)
