"""Bytes to text by rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.data.decoding import decode


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain\r\ntext\r\n", "plain\ntext\n"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("größe = 'naïve'\n".encode("latin-1"), "größe = 'naïve'\n"),
        ("price = '5 €'\n".encode("cp1252"), "price = '5 €'\n"),
        (b"\xff\xfe" + "wide\r\n".encode("utf-16-le"), "wide\n"),
        (b"\xfe\xff" + "wide".encode("utf-16-be"), "wide"),
        ("# -*- coding: euc-jp -*-\nx = 'テスト'\n".encode("euc-jp"), "# -*- coding: euc-jp -*-\nx = 'テスト'\n"),
        ("# coding: rot13\nx = 'ä'".encode("latin-1"), "# coding: rot13\nx = 'ä'"),
        (b"with\0nothing", None),
        (b"\x81\x8d\x8f are no letters of cp1252" * 3, None),
        (bytes(range(160, 256)), None),
        (b"\xff\xfe\x00\x00" + "x".encode("utf-32-le"), None),
        (b"", ""),
    ],
)
def test_rules(content, text):
    assert decode(content) == text


@given(st.text(st.characters(exclude_characters="\0\r\ufeff", exclude_categories=("Cs",))))
def test_utf_8_is_kept(text):
    assert decode(text.encode()) == text


@given(st.binary())
def test_anything_is_decoded_or_refused(content):
    decoded = decode(content)
    assert decoded is None or "\0" not in decoded
