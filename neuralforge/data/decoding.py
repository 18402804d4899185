"""Bytes of a source file as text, by rule: its mark, else UTF-8, else what it declares, else Windows-1252."""

import codecs
import re

_DECLARED = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)  # PEP 263, within the first two lines
_TRUSTED = frozenset(
    (
        *(f"iso8859-{part}" for part in range(1, 17) if part != 12),
        *(f"cp125{part}" for part in range(9)),
        *("euc_jp", "shift_jis", "cp932", "gbk", "gb2312", "gb18030", "big5", "euc_kr", "koi8-r", "koi8-u"),
    )
)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MOST_HIGH_BYTES = 0.3


def has_utf16_mark(content: bytes) -> bool:
    """Whether the content says of itself that it is UTF-16 (git calls such files binary)."""
    return content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and content[:4] not in _UTF32


def decode(content: bytes) -> str | None:
    r"""Text with every line ending as ``\n`` and no byte-order mark; None when it is not text that can be trusted.

    UTF-8 and UTF-16 by their marks; else UTF-8; else the encoding declared in the first two lines (PEP 263);
    else Windows-1252 when it has no byte that this encoding lacks and at most 30 % of its bytes are above ASCII.
    """
    text = _text(content)
    if text is None or "\0" in text:
        return None
    return text.replace("\r\n", "\n") if "\r" in text else text


def _text(content: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if content.startswith(mark) and content[:4] not in _UTF32:
            return _strict(content[len(mark) :], encoding)
    text = _strict(content, "utf-8")
    if text is not None:
        return text
    head = b"\n".join(content.split(b"\n", 2)[:2])
    declared = _DECLARED.search(head)
    if declared is not None:
        try:
            name = codecs.lookup(declared[1].decode("ascii")).name
        except (LookupError, ValueError):
            name = ""
        if name in _TRUSTED:
            return _strict(content, name)
    high = sum(map(len, re.findall(rb"[\x80-\xff]+", content)))
    if high > _MOST_HIGH_BYTES * len(content):
        return None
    text = _strict(content, "cp1252")
    return None if text is None or _CONTROLS.search(text) else text


def _strict(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None
