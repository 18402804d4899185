"""Where one text departs from another, marked up for reading."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from html import escape

_WORDS = re.compile(r"\w+|\s+|[^\w\s]", re.UNICODE)


def marked(wanted: str, found: str) -> str:
    """``found`` as escaped HTML in which whatever ``wanted`` does not have in that place stands in ``<mark>``.

    Compared word by word. White space alone is never marked: an underlined blank says nothing.

    >>> marked("return a + b", "return a - b")
    'return a <mark>-</mark> b'
    """
    before, after = _WORDS.findall(wanted), _WORDS.findall(found)
    parts: list[str] = []
    for kind, _, _, begin, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        text = "".join(after[begin:end])
        if kind == "equal" or not text.strip():
            parts.append(escape(text))
        else:
            inner = text.strip()
            start = text.index(inner)
            parts.append(f"{escape(text[:start])}<mark>{escape(inner)}</mark>{escape(text[start + len(inner) :])}")
    return "".join(parts)
