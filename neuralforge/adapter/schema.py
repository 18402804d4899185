"""Reading plain JSON objects into typed values, gathering every error instead of stopping at the first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from neuralforge.adapter.refusal import shown
from neuralforge.adapter.strict_text import is_unsafe

TEXT_LIMIT = 2000
_LIST_LIMIT = 20_000


class Fields:
    """The keys of one JSON object at ``where``. Each method takes a key, notes what is wrong with it in the shared
    ``errors``, and returns a usable value either way; :meth:`finish` notes the keys that nobody took."""

    def __init__(self, value: Any, where: str, errors: list[str]) -> None:
        self.where = where
        self.errors = errors
        self._taken: set[str] = set()
        if not isinstance(value, dict):
            errors.append(f"{where or 'metadata.json'} must be an object")
            value = {}
            self._broken = True
        else:
            self._broken = False
        self._values: dict[str, Any] = value

    def has(self, key: str) -> bool:
        """Whether the key is there and not null; it then still has to be taken."""
        self._taken.add(key)
        return self._values.get(key) is not None

    def text(self, key: str, pattern: str = "", example: str = "", limit: int = TEXT_LIMIT) -> str:
        value = self._take(key)
        if value is None:
            return ""
        problem = text_problem(value, pattern, limit)
        if problem:
            self._error(key, problem + (f", such as {example!r}" if example else ""))
            return ""
        return str(value)

    def optional_text(self, key: str, pattern: str = "", example: str = "", limit: int = TEXT_LIMIT) -> str | None:
        return self.text(key, pattern, example, limit) if self.has(key) else None

    def integer(self, key: str, low: int, high: int) -> int:
        value = self._take(key)
        if value is None:
            return low
        if type(value) is not int or not low <= value <= high:
            self._error(key, f"must be a whole number from {low:,} to {high:,}, not {shown(value, 40)}")
            return low
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self._take(key)
        if value is None:
            return low
        if not is_number(value) or not low <= value <= high:
            self._error(key, f"must be a number from {low:g} to {high:g}, not {shown(value, 40)}")
            return low
        return float(value)

    def boolean(self, key: str) -> bool:
        value = self._take(key)
        if value is not None and not isinstance(value, bool):
            self._error(key, f"must be true or false, not {shown(value, 40)}")
        return value is True

    def texts(self, key: str, pattern: str = "", most: int = _LIST_LIMIT) -> tuple[str, ...]:
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > most:
            self._error(key, f"must be a list of at most {most:,} strings")
            return ()
        for index, item in enumerate(value):
            problem = text_problem(item, pattern, TEXT_LIMIT)
            if problem:
                self._error(f"{key}[{index}]", problem)
                return ()
        return tuple(value)

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        value = self._take(key)
        if value is None:
            return ()
        good = isinstance(value, list) and len(value) <= _LIST_LIMIT
        if not good or any(type(item) is not int or not low <= item <= high for item in value):
            self._error(key, f"must be a list of whole numbers from {low:,} to {high:,}")
            return ()
        return tuple(value)

    def interval(self, key: str) -> list[float] | None:
        """``[low, high]`` or null."""
        if not self.has(key):
            return None
        value = self._take(key)
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(is_number(bound) and -1e12 <= bound <= 1e12 for bound in value)
            or value[0] > value[1]
        ):
            self._error(key, "must be [low, high] or null")
            return None
        return [float(item) for item in value]

    def counts(self, key: str) -> dict[str, int]:
        """An object of counts by name."""
        value = self._take(key)
        if value is None:
            return {}
        good = isinstance(value, dict) and len(value) <= _LIST_LIMIT
        if not good or any(type(n) is not int or n < 0 or text_problem(name, "", 200) for name, n in value.items()):
            self._error(key, "must be an object of counts by name")
            return {}
        return dict(value)

    def plain(self, key: str, most: int = 2000) -> dict[str, Any]:
        """An object of plain JSON values, whatever their names, at most ``most`` in all."""
        value = self._take(key)
        if value is None:
            return {}
        problem = plain_problem(value, most) if isinstance(value, dict) else "must be an object"
        if problem:
            self._error(key, problem)
            return {}
        return dict(value)

    def object(self, key: str) -> Fields:
        """The object under ``key``, for taking its keys in turn."""
        value = self._take(key)
        inner = Fields({} if value is None else value, self._name(key), self.errors)
        inner._broken |= value is None
        return inner

    def entries(self, key: str, most: int = 200) -> list[tuple[str, Fields]]:
        """The values of the object under ``key``, each an object itself, with their names."""
        value = self._take(key)
        if value is None:
            return []
        if not isinstance(value, dict) or len(value) > most or any(text_problem(name, "", 200) for name in value):
            self._error(key, f"must be an object of at most {most} objects by name")
            return []
        return [(name, Fields(item, f"{self._name(key)}.{name}", self.errors)) for name, item in value.items()]

    def rest(self) -> dict[str, Any]:
        """The keys that nobody took, which are thereby taken."""
        rest = self.untaken()
        self._taken.update(rest)
        problem = plain_problem(rest, 2000)
        if problem:
            self.errors.append(f"{self.where} {problem}")
        return rest

    def untaken(self) -> dict[str, Any]:
        """The keys that nobody took, unchecked."""
        return {key: value for key, value in self._values.items() if key not in self._taken}

    def finish(self) -> None:
        """Note every key that nobody took, with the known one it looks like."""
        for key in self.untaken():
            self.errors.append(f"{self._name(shown(key, 60))} is unknown{suggestion(key, self._taken)}")

    def _take(self, key: str) -> Any:
        self._taken.add(key)
        value = self._values.get(key)
        if value is None and not self._broken:
            self._error(key, "is missing")
        return value

    def _error(self, key: str, problem: str) -> None:
        self.errors.append(f"{self._name(key)} {problem}")

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'rank'?`` when a known word is close, else nothing."""
    close = difflib.get_close_matches(word[:100], sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def text_problem(value: Any, pattern: str, limit: int) -> str:
    """Why ``value`` is not a clean string, or nothing."""
    if not isinstance(value, str):
        return f"must be a string, not {shown(value, 40)}"
    if len(value) > limit:
        return f"must have at most {limit:,} characters"
    if any(is_unsafe(character) for character in value):
        return "must not hold control characters"
    if pattern and not re.fullmatch(pattern, value):
        return f"must not be {shown(value, 60)}"
    return ""


def plain_problem(value: Any, most: int) -> str:
    """Why a JSON value is not small and clean, or nothing."""
    pending, seen = [value], 0
    while pending:
        item = pending.pop()
        seen += 1
        if seen > most:
            return f"must hold at most {most:,} values"
        if isinstance(item, dict):
            problem = next(filter(None, (text_problem(key, "", 200) for key in item)), "")
            if problem:
                return f"has a key that {problem}"
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str):
            problem = text_problem(item, "", TEXT_LIMIT)
            if problem:
                return problem
        elif item is not None and not isinstance(item, (bool, int, float)):
            return f"holds {shown(item, 40)}, which is not a JSON value"
    return ""
