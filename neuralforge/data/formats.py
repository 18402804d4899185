"""One JSON object to one example: the shapes that are recognised, by their keys alone.

A record may satisfy several shapes; the first of this list wins, so that the same file is always read the
same way:

    1. ``prefix`` + ``middle`` (``suffix`` optional)     fill-in-the-middle; also what this program writes
    2. ``context`` + ``completion``                      left-to-right pair
    3. ``messages``                                      chat: a list of ``role``/``content``
    4. ``instruction`` + ``output`` (``input`` optional) instruction
    5. ``input`` + ``output``                            pair
    6. ``text``                                          plain text, all of it learned

``language``, ``path``, ``offset``, ``commit``, ``author_time``, ``author``, ``licence`` (or ``license``) and
``kind`` are read from the record in every shape, and from ``metadata`` where the record does not have them.
Every other key is ignored.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from neuralforge.data.languages import common_name
from neuralforge.data.records import FARTHEST, Example
from neuralforge.errors import DataError

KINDS = frozenset({"hunk", "definition", "file", "pair", "instruction", "chat", "text"})
MAX_MESSAGES = 10_000

_AUTHOR = re.compile(r"[0-9a-f]{16}")
# Text with half of a surrogate pair cannot be written as UTF-8, so no tokenizer can read it.
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")

_TEXT_FIELDS = ("language", "path", "commit", "author", "licence", "kind")
_NUMBER_FIELDS = ("offset", "author_time")
# Those that are counted by, and told to people.
_NAMES = frozenset({"language", "commit", "licence"})
_LONGEST_NAME = 200
_BOUNDS = {"offset": (0, 1 << 40), "author_time": (-FARTHEST, FARTHEST)}


class BadRecord(DataError):
    """A record that is no example. ``reason`` is a short class of fault to count by, ``message`` the detail."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, "Correct the line, or pass --skip-bad to leave such lines out and count them.")
        self.reason = reason


def to_example(record: object) -> Example:
    """Read one parsed JSON value as an example, by the shapes listed above.

    Raises:
        BadRecord: it is not an object, has the keys of no shape, or a value of the wrong type.
    """
    if not isinstance(record, Mapping):
        raise BadRecord("not an object", f"a JSON object is expected, not {_type_name(record)}")
    for keys, read in _SHAPES:
        if all(key in record for key in keys):
            return read(record)
    keys_found = ", ".join(repr(str(key)[:40]) for key in list(record)[:8]) or "none"
    raise BadRecord(
        "unknown keys",
        f"its keys ({keys_found}) are of no known shape: context/completion, prefix/middle/suffix, input/output, "
        "instruction/output, messages or text",
    )


def render_messages(messages: list[tuple[str, str]]) -> str:
    """Earlier turns of a conversation as plain text, ending where the assistant is about to speak.

    Neutral on purpose: a base without a chat template learns from it as it stands.
    """
    turns = [f"{role[:1].upper()}{role[1:]}: {content}\n\n" for role, content in messages]
    return "".join(turns) + "Assistant: "


def _middle(record: Mapping[str, Any]) -> Example:
    return _build(
        record, "pair", _text(record, "prefix"), _text(record, "middle"), _text(record, "suffix", optional=True)
    )


def _completion(record: Mapping[str, Any]) -> Example:
    return _build(record, "pair", _text(record, "context", optional=True), _text(record, "completion"))


def _instruction(record: Mapping[str, Any]) -> Example:
    request = _text(record, "instruction")
    given = _text(record, "input", optional=True)
    prefix = f"{request}\n\n{given}\n\n" if given else f"{request}\n\n"
    return _build(record, "instruction", prefix, _text(record, "output"))


def _pair(record: Mapping[str, Any]) -> Example:
    return _build(record, "pair", _text(record, "input"), _text(record, "output"))


def _plain(record: Mapping[str, Any]) -> Example:
    return _build(record, "text", "", _text(record, "text"))


def _chat(record: Mapping[str, Any]) -> Example:
    messages = record["messages"]
    if not isinstance(messages, list):
        raise BadRecord("wrong type", f"'messages' must be a list, not {_type_name(messages)}")
    if len(messages) > MAX_MESSAGES:
        raise BadRecord("too many messages", f"'messages' has {len(messages):,} entries; {MAX_MESSAGES:,} is the limit")
    turns = [_turn(message, position) for position, message in enumerate(messages)]
    last = max((index for index, (role, _) in enumerate(turns) if role == "assistant"), default=None)
    if last is None:
        raise BadRecord("no answer", "'messages' has no message with the role 'assistant'")
    return _build(record, "chat", render_messages(turns[:last]), turns[last][1])


def _turn(message: object, position: int) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise BadRecord("wrong type", f"message {position} must be an object, not {_type_name(message)}")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        raise BadRecord("wrong type", f"message {position} has no 'role'")
    if isinstance(content, list):  # the "parts" form; pictures and the like cannot be learned from here
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise BadRecord("wrong type", f"message {position} has a content part that is not text")
        content = "".join(str(part) for part in parts)
    if content is None and role != "assistant":
        content = ""
    if not isinstance(content, str):
        raise BadRecord("wrong type", f"message {position}: 'content' must be text, not {_type_name(content)}")
    return role, _whole(content, "content")


_SHAPES: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Example]], ...] = (
    (("prefix", "middle"), _middle),
    (("context", "completion"), _completion),
    (("messages",), _chat),
    (("instruction", "output"), _instruction),
    (("input", "output"), _pair),
    (("text",), _plain),
)


def _build(record: Mapping[str, Any], kind: str, prefix: str, completion: str, suffix: str = "") -> Example:
    fields = _provenance(record, strict=True)
    metadata = record.get("metadata")
    if isinstance(metadata, Mapping):
        fields = {**_provenance(metadata, strict=False), **fields}
    if fields.get("kind") not in KINDS:
        fields["kind"] = kind
    fields["language"] = common_name(fields.get("language") or "text")
    return Example(prefix=prefix, completion=completion, suffix=suffix, **fields)


def _provenance(source: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """The optional fields of ``source``; one of a wrong type is an error when ``strict``, else left out."""
    found: dict[str, Any] = {}
    for name in _TEXT_FIELDS:
        value = source.get(name)
        if value is None and name == "licence":
            value = source.get("license")
        if isinstance(value, str):
            if name in _NAMES and not (len(value) <= _LONGEST_NAME and value.isprintable()):
                if strict and name != "licence":
                    raise BadRecord("broken text", f"{name!r} must be a short name without control characters")
                continue
            # A name or an address in clear is not stored: only the digest form that can be erased by.
            if name != "author" or _AUTHOR.fullmatch(value):
                found[name] = value
        elif value is not None and strict and name in ("language", "path", "commit"):
            raise BadRecord("wrong type", f"{name!r} must be text, not {_type_name(value)}")
    for name in _NUMBER_FIELDS:
        value = source.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            low, high = _BOUNDS[name]
            if low <= value <= high:
                found[name] = value
            elif strict:
                raise BadRecord("wrong value", f"{name!r} must be from {low:,} to {high:,}, not {value:,}")
        elif value is not None and strict:
            raise BadRecord("wrong type", f"{name!r} must be a whole number, not {_type_name(value)}")
    return found


def _text(record: Mapping[str, Any], key: str, *, optional: bool = False) -> str:
    value = record.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise BadRecord("wrong type", f"{key!r} must be text, not {_type_name(value)}")
    return _whole(value, key)


def _whole(value: str, key: str) -> str:
    if not value.isascii() and _HALF_CHARACTER.search(value):
        raise BadRecord("broken text", f"{key!r} holds half of a surrogate pair, which is not a character")
    return value


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, Mapping) else type(value).__name__
