"""Languages by file name and by what people call them."""

import pytest

from neuralforge.data.languages import canonical, chosen_languages, language_of, language_reason, script_language
from neuralforge.errors import UserError


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b/Main.java", "java"),
        ("x.PY", "python"),
        ("web/App.tsx", "typescript"),
        ("Dockerfile", "dockerfile"),
        ("docker/Dockerfile.dev", "dockerfile"),
        ("Makefile", "makefile"),
        ("CMakeLists.txt", "cmake"),
        ("notes.txt", "text"),
        ("a.py/README", None),
        (".gitignore", None),
        ("data.bin", None),
        ("", None),
    ],
)
def test_language_of(path, language):
    assert language_of(path) == language


def test_aliases_extensions_and_lists():
    assert [canonical(name) for name in ("JS", "py", "C++", "golang", ".rs", " Java ")] == [
        *("javascript", "python", "c++", "go", "rust", "java"),
    ]
    assert chosen_languages(None) is None
    assert chosen_languages(("java,python", "js")) == {"java", "python", "javascript"}


def test_an_unknown_name_comes_with_a_suggestion():
    with pytest.raises(UserError, match="Unknown language 'pyhton'") as caught:
        chosen_languages(("pyhton",))
    assert "python" in caught.value.hint


def test_prose_is_taken_only_when_named():
    assert language_reason("python", None) is None
    assert language_reason("markdown", None) == "documentation or data"
    assert language_reason(None, None) == "unknown language"
    assert language_reason("markdown", frozenset({"markdown"})) is None
    assert language_reason("python", frozenset({"markdown"})) == "language not chosen"


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("#!/usr/bin/env python3", "python"),
        ("#! /usr/bin/python3.11 -u", "python"),
        ("#!/usr/bin/env -S node --harmony", "javascript"),
        ("#!/bin/sh", "shell"),
        ("#!/usr/bin/env LANG=C bash", "shell"),
        ("#!/usr/bin/env strange", None),
        ("#include <stdio.h>", None),
        ("", None),
    ],
)
def test_a_first_line_names_the_language_of_a_script(line: str, language: str | None) -> None:
    assert script_language(line + "\nrest") == language
