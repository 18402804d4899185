"""Check a date before git sees it: git reads any nonsense as *now* and says nothing."""

import re
from datetime import datetime
from pathlib import Path

from neuralforge.data.sources.git.commands import query
from neuralforge.errors import UserError

_HINT = "Write it as '2024-01-31', '6 months ago', 'yesterday' or 'Jan 31 2024'."
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december"),
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_UNITS = ("second", "minute", "hour", "day", "week", "month", "year", "sec", "min")
_COUNTS = ("a", "an", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "last")
_WHOLE = ("yesterday", "today", "now", "noon", "midnight")
_FILLING = ("ago", "at", "am", "pm", "and", "of", "the", "t", "z", "utc", "gmt")
_WORDS = frozenset(
    (
        *(name[:length] for name in (*_MONTHS, *_DAYS) for length in range(3, len(name) + 1)),
        *(unit + ending for unit in _UNITS for ending in ("", "s")),
        *_COUNTS,
        *_WHOLE,
        *_FILLING,
    )
)
_ISO_DAY = re.compile(r"\b(\d{4})([-/.])(\d{1,2})\2(\d{1,2})\b")
_RELATIVE = re.compile(r"\b(?:\d+|" + "|".join(_COUNTS) + r")[\s.]+(?:" + "|".join(_UNITS) + r")s?\b")
_ABSOLUTE = re.compile(
    r"^@\d+$|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\b(?:" + "|".join(n[:3] for n in _MONTHS) + ")"
)


def timestamp(text: str, flag: str, directory: Path) -> int:
    """Seconds since 1970 UTC for a date as git understands it (``approxidate``), nonsense refused.

    A day without a time means its beginning for ``--since`` and its end for ``--until``.

    Args:
        text: what the user wrote.
        flag: the option it was written for, for the message (``--since``).
        directory: the git directory of any repository; git reads dates only inside one.

    Raises:
        UserError: empty, a word that is no part of a date, a day that no calendar has, or an amount without "ago".
    """
    lowered = text.strip().lower()
    wrong = UserError(f"{flag} {text!r} is not a date.", _HINT)
    words = re.findall(r"[a-z]+", lowered)
    if not lowered or re.search(r"[^\w\s.:,/@+-]", lowered) or any(word not in _WORDS for word in words):
        raise wrong
    for year, _, month, day in _ISO_DAY.findall(lowered):
        try:
            datetime(int(year), int(month), int(day))
        except ValueError as failure:
            raise UserError(f"{flag} {text!r}: there is no such day ({failure}).", _HINT) from failure
    relative = _RELATIVE.search(lowered) is not None
    if relative and "ago" not in words and "last" not in words:
        raise UserError(f"{flag} {text!r} is an amount of time, not a date.", f"Did you mean '{lowered} ago'?")
    named = any(word in _WHOLE or word[:3] in (day[:3] for day in _DAYS) for word in words)
    if not (relative or named or _ABSOLUTE.search(lowered)):
        raise wrong
    if lowered.startswith("@"):
        if not re.fullmatch(r"@\d{1,11}", lowered):
            raise wrong
        return int(lowered[1:])
    if _ISO_DAY.fullmatch(lowered):  # git would fill in the present time of day: another answer every second
        lowered += " 23:59:59" if flag == "--until" else " 00:00:00"
    answer = query(directory, "rev-parse", f"--since={lowered}").decode()
    _, _, number = answer.strip().partition("=")
    if not number.isdigit():
        raise wrong
    return int(number)
