"""Text that came from outside: JSON with nothing ambiguous in it, YAML with nothing clever, plain UTF-8."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any, NoReturn

from neuralforge.adapter.refusal import Reason, Refused, shown

_DEPTH = 16


def decode(content: bytes, source: str, reason: Reason = "malformed-text") -> str:
    """UTF-8 text without control characters (tab and newline aside) or direction overrides.

    Raises:
        Refused: it is not; a terminal or a page that showed it could be made to lie.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise Refused(reason, f"{source} is not UTF-8 (byte {failure.start}).") from failure
    bad = next((character for character in text if is_unsafe(character) and character not in "\n\t"), None)
    if bad is not None:
        raise Refused(reason, f"{source} holds the control character U+{ord(bad):04X}.")
    return text


def is_unsafe(character: str) -> bool:
    """Whether a character can steer a terminal or reorder text: control, surrogate, line separator, bidi override."""
    if " " <= character <= "~":
        return False
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or (
        category == "Cf" and unicodedata.bidirectional(character) in _DIRECTIONAL
    )


_DIRECTIONAL = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def parse_json(content: bytes, source: str, *, reason: Reason = "malformed-json", depth: int = _DEPTH) -> Any:
    """Parse JSON; the caller has bounded its size.

    Raises:
        Refused: not JSON, a key given twice, a number that JSON does not know, or nested deeper than ``depth``.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    raise Refused(reason, f"{source} gives the key {shown(name)} twice.")
                seen.add(name)
        return table

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"the number {text[:20]} is too large")
        return value

    def constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is not a JSON number")

    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=unique, parse_float=number, parse_constant=constant
        )
    except (ValueError, RecursionError) as failure:
        raise Refused(reason, f"{source} is not valid JSON: {shown(failure, 200)}.") from failure
    _check_depth(value, depth, source, reason)
    return value


def check_yaml(content: bytes, source: str) -> None:
    """Check that YAML is plain: one document, no anchors, aliases or tags, nested at most 16 deep.

    Raises:
        Refused: it is not.
    """
    import yaml

    text = decode(content, source, "malformed-yaml")
    depth = documents = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
            if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
            if (
                documents > 1
                or depth > _DEPTH
                or isinstance(event, yaml.AliasEvent)
                or getattr(event, "anchor", None)
                or getattr(event, "tag", None)
            ):
                where = f", line {event.start_mark.line + 1}" if event.start_mark else ""
                raise Refused(
                    "malformed-yaml",
                    f"{source}{where}: anchors, aliases, tags, several documents or deep nesting have no place there.",
                )
    except (yaml.YAMLError, RecursionError) as failure:
        raise Refused("malformed-yaml", f"{source} is not valid YAML: {shown(failure, 200)}.") from failure


def _check_depth(value: Any, depth: int, source: str, reason: Reason) -> None:
    level = [value]
    for _ in range(depth + 1):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise Refused(reason, f"{source} is nested deeper than {depth} levels.")
