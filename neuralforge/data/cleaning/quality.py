"""Is an example worth learning? Cheap tests on its text, each with a name to count by."""

import re
from dataclasses import dataclass

from neuralforge.data.records import Example


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Bounds, in characters unless said otherwise.

    Attributes:
        min_completion: letters and digits a completion must hold at least.
        max_completion: longest completion. 8,000 characters are about 2,500 tokens of code.
        max_line: longest line of a completion; longer ones are minified code or data.
        min_alphabetic: least share of letters among a completion's visible characters. Tables of numbers
            and drawings fall below it.
        max_repetition: largest share of a completion's visible lines (of eight or more) that may equal an
            earlier one.
    """

    min_completion: int = 5
    max_completion: int = 8_000
    max_line: int = 500
    min_alphabetic: float = 0.25
    max_repetition: float = 0.6


_VISIBLE = re.compile(r"\S+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
# Lines that say nothing by themselves: brackets, `else:`, `pass`, `end`, a lone comment mark.
_TRIVIAL_LINE = re.compile(
    r"[\s{}()\[\];,:<>/*#'\"\\-]*(?:(?:else|try|finally|pass|break|continue|return|end|begin|do|done|fi|then|esac)\b[\s{}();:]*)?"
)


def fault(example: Example, limits: QualityLimits) -> str | None:
    """The first reason against ``example``, or None when it may stay."""
    text = example.completion
    if not text.strip():
        return "quality: empty"
    if len(text) > limits.max_completion:
        return "quality: too long"
    # Prose, chats and answers may be short ("yes") or one long line: only code is held to the rules of code.
    if example.kind in ("chat", "instruction", "text"):
        return "quality: not text" if _mostly_not_text(text) else None
    if _trivial(text, limits.min_completion):
        return "quality: trivial"
    if _mostly_not_text(text):
        return "quality: not text"
    lines = text.splitlines()
    if max(map(len, lines)) > limits.max_line:
        return "quality: minified"
    visible = "".join(_VISIBLE.findall(text))
    if len(visible) >= 40 and _letters(visible) < limits.min_alphabetic * len(visible):
        return "quality: few letters"
    if _repetitive(lines, limits.max_repetition):
        return "quality: repetitive"
    return None


def _trivial(text: str, minimum: int) -> bool:
    if len(text) > 200:  # nothing that long matches below; the count would only cost time
        return False
    if sum(map(str.isalnum, text)) < minimum:
        return True
    return all(_TRIVIAL_LINE.fullmatch(line) for line in text.splitlines())


def _mostly_not_text(text: str) -> bool:
    if text.isascii() and text.isprintable():
        return False
    return len(_CONTROL.findall(text)) > 0.01 * len(text)


def _letters(visible: str) -> int:
    # The case tables are C loops; a character at a time in Python was ten times slower.
    if visible.isascii():
        return len(visible.encode().translate(None, _NOT_LETTERS))
    return sum(map(str.isalpha, visible))


_NOT_LETTERS = bytes(code for code in range(256) if not chr(code).isascii() or not chr(code).isalpha())


def _repetitive(lines: list[str], most: float) -> bool:
    visible = [stripped for line in lines if len(stripped := line.strip()) > 2]
    return len(visible) >= 8 and 1 - len(set(visible)) / len(visible) > most
