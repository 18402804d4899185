"""What is mined from scripted repositories, and what is left out under which name."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from neuralforge.data.records import Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.errors import DataError, RemoteError, UserError
from neuralforge.runs.events import Note, Progress, silent

AREA = """def area_of_rectangle(width, height):
    if width < 0 or height < 0:
        raise ValueError("negative side")
    return width * height
"""
CIRCLE = """def circumference_of_circle(radius):
    if radius < 0:
        raise ValueError("negative radius")
    return 2 * 3.14159 * radius
"""
LICENCE = """MIT License

Copyright (c) 2026 Ann Author

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.
"""


def whole(example, text):
    """Whether an example is a stretch of ``text`` at the offset it claims."""
    at = example.offset
    return (
        text[at : at + len(example.completion)] == example.completion
        and text[:at].endswith(example.prefix)
        and text[at + len(example.completion) :].startswith(example.suffix)
    )


def test_a_new_file_gives_its_definitions_with_the_text_around_them(history, mine):
    text = f'"""Shapes of all kinds."""\n\nimport math\n\n\n{AREA}\n\n{CIRCLE}'
    history.write("shapes.py", text)
    history.write("LICENSE", LICENCE)
    oid = history.commit()
    mined = mine(history.path)
    first, second = (example for example in mined if example.kind == "definition")
    assert first.completion + "\n" == AREA
    assert first.prefix.endswith("import math\n\n\n")
    assert first.suffix == "\n\n\n" + CIRCLE
    assert second.completion + "\n" == CIRCLE
    for example in mined:
        assert whole(example, text)
        assert (example.language, example.path, example.commit) == ("python", "shapes.py", oid)
        assert example.licence == "MIT"
        assert example.author == hashlib.sha256(b"ann@example.org").hexdigest()[:16]
        assert example.author_time == 1_700_003_600


def test_an_edit_gives_only_the_changed_lines(history, mine):
    history.write("shapes.py", AREA)
    history.commit()
    changed = AREA.replace('"negative side"', 'f"negative side: {width} by {height}"')
    history.write("shapes.py", changed)
    oid = history.commit()
    newest = mine(history.path)[0]
    assert (newest.commit, newest.kind) == (oid, "hunk")
    assert newest.completion == '        raise ValueError(f"negative side: {width} by {height}")'
    assert newest.prefix.endswith("height < 0:\n")
    assert whole(newest, changed)


def test_a_completion_begins_inside_a_line_only_when_asked(history, mine):
    history.write("shapes.py", AREA)
    history.commit()
    history.write("shapes.py", AREA.replace("width * height", "width * height * scale_of_drawing"))
    history.commit()
    assert mine(history.path)[0].completion == "    return width * height * scale_of_drawing"
    inside = mine(history.path, allow_mid_line=True)[0]
    assert inside.prefix.endswith("    return width * height")
    assert inside.completion == " * scale_of_drawing"
    assert whole(inside, AREA.replace("width * height", "width * height * scale_of_drawing"))


def test_a_new_method_in_an_old_class_is_a_definition(history, mine):
    before = "class Shape:\n    def name(self):\n        return self.__class__.__name__\n"
    history.write("shape.py", before)
    history.commit()
    method = (
        "    def describe_for_people(self, detail=1):\n        text = self.name()\n        return text * detail + '!'\n"
    )
    history.write("shape.py", before + "\n" + method + "\n    size = None\n")
    history.commit()
    newest = mine(history.path)[0]
    assert newest.completion.startswith(method.rstrip("\n"))


def test_long_files_are_cut_and_every_piece_is_bounded(history, mine):
    functions = [AREA.replace("area_of_rectangle", f"area_number_{number}") for number in range(60)]
    text = "class Everything:\n" + "\n".join(
        "\n".join("    " + line if line else "" for line in function.split("\n")) for function in functions
    )
    history.write("big.py", text)
    history.commit()
    mined = mine(history.path)
    assert sum(example.kind == "definition" for example in mined) >= 59
    for example in mined:
        assert len(example.completion) <= 1_600
        assert len(example.prefix) <= 6_000
        assert len(example.suffix) <= 2_000
        assert whole(example, text)
        assert example.offset == 0 or text[example.offset - 1] == "\n"
        assert not example.prefix or text[example.offset - len(example.prefix) - 1 :][:1] in ("\n", text[:1])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vendor/shapes.py", "vendored"),
        ("node_modules/a/index.js", "vendored"),
        ("api_pb2.py", "generated"),
        ("app.min.js", "minified"),
        ("package-lock.json", "lock file"),
        ("notes.md", "documentation or data"),
        ("strange.xyz", "unknown language"),
        ("kept_out/a.py", "ignored"),
        ("marked/a.py", "generated"),
        ("foreign/a.py", "vendored"),
        ("manual/a.py", "documentation or data"),
        ("sub/private/a.py", "ignored"),
    ],
)
def test_files_nobody_typed_are_left_out_by_name(history, mine, name, reason):
    history.write(".gitattributes", "marked/* linguist-generated\nforeign/** linguist-vendored=true\n")
    history.write("manual/.gitattributes", "*.py linguist-documentation\n")
    history.write(".neuralforgeignore", "# not this\nkept_out/\n")
    history.write("sub/.neuralforgeignore", "/private\n")
    history.write(name, AREA)
    history.commit()
    mined = mine(history.path)
    assert mined == []
    assert mined.funnel.dropped[reason] >= 1


def test_a_script_without_an_ending_is_known_by_its_first_line(history, mine):
    history.write("bin/areas", "#!/usr/bin/env python3\n" + AREA)
    history.write("NOTES", "Areas are computed by bin/areas, circles by nobody yet.\n")
    history.commit()
    mined = mine(history.path)
    assert {(example.path, example.language) for example in mined} == {("bin/areas", "python")}
    assert mined.funnel.dropped["unknown language"] == 1


def test_an_attribute_can_bring_a_folder_back(history, mine):
    history.write(".gitattributes", "vendor/ours/** -linguist-vendored\n")
    history.write("vendor/ours/shapes.py", AREA)
    history.write("vendor/theirs/shapes.py", CIRCLE)
    history.commit()
    assert [example.path for example in mine(history.path)] == ["vendor/ours/shapes.py"]


def test_generated_and_minified_content_is_recognised(history, mine):
    history.write("tables.py", "# Code generated by tablemaker. DO NOT EDIT.\n" + AREA)
    history.write("site.js", "function a(){" + "return b+c;" * 400 + "}\n")
    history.commit()
    mined = mine(history.path)
    assert mined == []
    assert (mined.funnel.dropped["generated"], mined.funnel.dropped["minified"]) == (1, 1)


def test_commits_that_are_nobodys_typing(history, mine):
    history.write("a.py", AREA)
    history.commit()
    history.git("checkout", "-q", "-b", "side")
    history.write("b.py", CIRCLE)
    history.commit()
    history.git("checkout", "-q", "main")
    history.write("c.py", CIRCLE.replace("circumference", "perimeter"))
    history.commit()
    history.git("merge", "-q", "--no-ff", "-m", "Merge branch 'side'", "side")
    history.write("d.py", AREA.replace("area", "volume"))
    history.commit("Bump things", GIT_AUTHOR_NAME="dependabot[bot]", GIT_AUTHOR_EMAIL="bot@example.org")
    history.write("e.py", AREA.replace("area", "weight"))
    history.commit('Revert "Remove weight"\n\nThis reverts commit 0123456789abcdef.')
    mined = mine(history.path)
    assert sorted({example.path for example in mined}) == ["a.py", "b.py", "c.py"]
    assert mined.funnel.commits == 6
    assert mined.funnel.commits_dropped == {"merge": 1, "bot": 1, "revert": 1}


@pytest.mark.parametrize("name", ["Travis Oliphant", "Jane Jenkins", "Abbot Costello", "Robotham Lee"])
def test_people_with_names_like_machines_are_people(history, mine, name):
    history.write("a.py", AREA)
    history.commit(GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL="someone@example.org")
    assert len(mine(history.path)) == 1


def test_white_space_and_moves_are_not_typing(history, mine):
    history.write("a.py", AREA + "\n\n" + CIRCLE)
    history.commit()
    history.write("a.py", AREA.replace("    ", "\t") + "\n\n" + CIRCLE)
    blanks = history.commit("Use tabs")
    history.write("a.py", AREA.replace("    ", "\t"))
    history.write("b.py", CIRCLE)
    moved = history.commit("Move a function")
    mined = mine(history.path)
    assert not {blanks, moved} & {example.commit for example in mined}
    assert mined.funnel.dropped["white space only"] == 1
    assert mined.funnel.dropped["moved"] == 1


def test_a_rename_gives_nothing_and_a_rename_with_an_edit_gives_the_edit(history, mine):
    text = AREA + "\n\n" + CIRCLE
    history.write("old name.py", text)
    history.commit()
    history.git("mv", "old name.py", "new name.py")
    pure = history.commit("Rename")
    history.git("mv", "new name.py", "newest.py")
    history.write("newest.py", text.replace("3.14159", "3.141592653589793"))
    edited = history.commit("Rename and edit")
    mined = mine(history.path)
    assert pure not in {example.commit for example in mined}
    (edit,) = [example for example in mined if example.commit == edited]
    assert (edit.path, edit.completion) == ("newest.py", "    return 2 * 3.141592653589793 * radius")


def test_small_things_are_trivial_and_version_bumps_are_named(history, mine):
    history.write("a.py", AREA)
    history.write("b.py", "x = 1\n")
    history.write("version.py", "__version__ = '1.0.0'\n")
    history.commit()
    history.write("version.py", "__version__ = '1.0.1'\n")
    history.commit()
    mined = mine(history.path)
    assert {example.path for example in mined} == {"a.py"}
    assert (mined.funnel.dropped["trivial"], mined.funnel.dropped["version bump"]) == (1, 2)


def test_a_licence_header_is_not_code(history, mine):
    header = "# Copyright 2026 Ann Author and others\n# Licensed under the Apache License, Version 2.0\n"
    header += "# SPDX-License-Identifier: Apache-2.0\n"
    history.write("a.py", header + "\n" + AREA)
    history.commit()
    mined = mine(history.path)
    assert [example.licence for example in mined] == ["Apache-2.0"]
    assert mined[0].completion + "\n" == AREA
    assert mined.funnel.dropped["licence header"] == 1


def test_odd_encodings(history, mine):
    text = '# Prüfung der Größe\ndef größe_prüfen(größe):\n    return "zu groß" if größe > 10 else "passt schon"\n'
    history.write("latin.py", text.encode("latin-1"))
    history.write("wide.py", b"\xff\xfe" + text.encode("utf-16-le"))
    history.write("marked.py", b"\xef\xbb\xbf" + text.encode())
    history.write("declared.py", ("# coding: shift_jis\nmessage_for_everyone = 'こんにちは'\n").encode("shift_jis"))
    history.write("noise.py", bytes(range(128, 256)) * 8 + b"\n")
    history.commit()
    wider = text + "\n\n" + AREA
    history.write("wide.py", b"\xff\xfe" + wider.encode("utf-16-le"))
    last = history.commit()
    mined = mine(history.path)
    for name in ("latin.py", "wide.py", "marked.py"):
        (example,) = [one for one in mined if one.path == name and one.commit != last]
        assert example.completion + "\n" == text
        assert example.offset == 0
    (declared,) = [one for one in mined if one.path == "declared.py"]
    assert "こんにちは" in declared.completion
    (added,) = [one for one in mined if one.commit == last]
    assert added.completion + "\n" == AREA
    assert whole(added, wider)
    assert mined.funnel.dropped["encoding"] == 1


def test_carriage_returns_are_normalised(history, mine):
    history.write("dos.py", AREA.replace("\n", "\r\n"))
    history.commit()
    text = AREA + "\n\n" + CIRCLE
    history.write("dos.py", text.replace("\n", "\r\n"))
    history.commit()
    added, first = mine(history.path)
    assert first.completion + "\n" == AREA
    assert added.completion + "\n" == CIRCLE
    assert whole(added, text)


@pytest.mark.parametrize(
    "name", [b"with space.py", b"new\nline.py", b'quote"s and tab\t.py', b"not utf-8 \xff.py", "grün/größe.py".encode()]
)
def test_paths_of_every_kind(history, mine, name):
    history.write(name, AREA)
    history.write("plain.py", CIRCLE)
    history.commit()
    history.write(name, AREA.replace("return width * height", "return abs(width) * abs(height)"))
    history.commit()
    mined = mine(history.path)
    own = [example for example in mined if example.path == name.decode("utf-8", "surrogateescape")]
    assert [example.completion for example in own] == ["    return abs(width) * abs(height)", AREA.rstrip("\n")]


def test_a_path_that_looks_like_a_patch_does_not_confuse(history, mine):
    history.write("x\n@@ -0,0 +1,9 @@\n+evil.py", AREA)
    history.write("y.py", CIRCLE)
    history.commit()
    assert sorted(example.completion + "\n" for example in mine(history.path)) == [AREA, CIRCLE]


def test_content_that_looks_like_a_patch_does_not_confuse(history, mine):
    strange = (
        'SAMPLE_PATCH = """\ndiff --git a/x b/x\n@@ -1 +1 @@\n-one\n+two\n\\ No newline at end of file\n\x01commit\n"""'
    )
    history.write("strange.py", strange)
    history.commit()
    history.write("strange.py", strange + "\n\n\n" + AREA)
    history.commit()
    mined = mine(history.path)
    assert [example.completion for example in mined] == [AREA.rstrip("\n"), strange]


def test_binaries_symbolic_links_submodules_and_huge_files(history, new_history, mine):
    part = new_history("part")
    part.write("inner.py", CIRCLE)
    part.commit()
    history.write("image.png", b"\x89PNG\0\0")
    history.write("data.py", b"x = 1\0\0" * 30)
    history.write("huge.py", "value = 'a long text in every line of it'\n" * 40_000)
    history.write("a.py", AREA)
    (history.path / "link.py").symlink_to("a.py")
    history.git(
        "submodule",
        "--quiet",
        "add",
        str(part.path),
        "part",
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="protocol.file.allow",
        GIT_CONFIG_VALUE_0="always",
    )
    history.commit()
    mined = mine(history.path)
    assert [example.path for example in mined] == ["a.py"]
    dropped = mined.funnel.dropped
    assert (dropped["submodule"], dropped["symbolic link"], dropped["binary"], dropped["too large"]) == (1, 1, 2, 1)
    assert [example.path for example in mine(history.path / "part")] == ["inner.py"]


def test_a_link_that_becomes_a_file(history, mine):
    history.write("a.py", CIRCLE)
    (history.path / "b.py").symlink_to("a.py")
    history.commit()
    (history.path / "b.py").unlink()
    history.write("b.py", AREA)
    history.commit()
    assert [(example.path, example.completion + "\n") for example in mine(history.path)] == [
        ("b.py", AREA),
        ("a.py", CIRCLE),
    ]


def test_a_shallow_clone_does_not_take_its_boundary_for_typing(history, tmp_path, mine):
    history.write("a.py", AREA)
    history.commit()
    history.write("b.py", CIRCLE)
    history.commit()
    history.write("a.py", AREA.replace("width * height", "abs(width * height)"))
    history.commit()
    subprocess.run(
        ["git", "clone", "-q", "--depth", "2", f"file://{history.path}", str(tmp_path / "shallow")], check=True
    )
    mined = mine(tmp_path / "shallow")
    assert [example.completion for example in mined] == ["    return abs(width * height)"]
    assert mined.funnel.commits_dropped == {"shallow boundary": 1}
    assert any(isinstance(event, Note) and "shallow" in event.message for event in mined.events)


def test_bare_linked_and_nested_places_give_the_same(history, tmp_path, mine):
    history.write("pkg/a.py", AREA)
    history.write("other/b.py", CIRCLE)
    history.commit()
    everything = list(mine(history.path))
    subprocess.run(["git", "clone", "-q", "--bare", str(history.path), str(tmp_path / "bare.git")], check=True)
    history.git("worktree", "add", "-q", str(tmp_path / "linked"), "HEAD", "--detach")
    assert list(mine(tmp_path / "bare.git")) == everything
    assert list(mine(tmp_path / "linked")) == everything
    assert list(mine(history.path / ".git")) == everything
    assert [example.path for example in mine(history.path / "pkg")] == ["pkg/a.py"]


def test_a_url_is_cloned_and_removed_again(history, tmp_path, mine):
    history.write("a.py", AREA)
    history.commit()
    assert list(mine(f"file://{history.path}")) == list(mine(history.path))
    assert list((tmp_path / "neuralforge-home" / "clones").iterdir()) == []


def test_a_clone_that_fails_says_so_and_leaves_nothing(tmp_path, mine):
    with pytest.raises(RemoteError, match="Cannot clone file:///no/such"):
        mine("file:///no/such/repository")
    assert list((tmp_path / "neuralforge-home" / "clones").iterdir()) == []


def test_what_is_no_repository(history, tmp_path, mine):
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not a git repository"):
        mine(tmp_path / "plain")
    with pytest.raises(UserError, match="is a file"):
        mine(tmp_path / "file")
    with pytest.raises(UserError, match="no folder"):
        mine(tmp_path / "missing")
    with pytest.raises(DataError, match="no commits yet"):
        mine(history.path)
    history.write("a.py", AREA)
    history.commit()
    (history.path / "untracked").mkdir()
    with pytest.raises(DataError, match="does not track"):
        mine(history.path / "untracked")
    history.git("checkout", "-q", "--orphan", "empty")
    with pytest.raises(DataError, match="none where its HEAD points") as caught:
        mine(history.path)
    assert "main" in caught.value.hint


def test_a_damaged_repository_is_an_error_not_a_crash(history, mine):
    history.write("a.py", AREA)
    history.commit()
    blob = history.git("rev-parse", "HEAD:a.py")
    (history.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(DataError, match="git log failed"):
        mine(history.path)


def test_the_newest_examples_come_first_and_are_what_a_bound_keeps(history, mine):
    commits = []
    for number in range(5):
        history.write("a.py", "\n\n".join(AREA.replace("area", f"area_{step}") for step in range(number + 1)))
        commits.append(history.commit())
    mined = mine(history.path, max_examples=2)
    assert [example.commit for example in mined] == [commits[4], commits[3]]
    assert mined.funnel.kept == 2
    assert isinstance(mined.events[0], Progress)
    assert mined.events[0].total == 5


def test_since_until_paths_and_languages(history, mine):
    history.write("src/a.py", AREA)
    first = history.commit()
    history.write("src/b.js", "export function measureEverything(list) {\n  return list.map((one) => one.size);\n}\n")
    history.write("doc.md", "# A guide\n\nHow to measure everything there is.\n")
    second = history.commit()
    history.write("tools/c.py", CIRCLE)
    third = history.commit()

    def commits(**options):
        return {example.commit for example in mine(history.path, **options)}

    assert commits(since="@1700007000") == {second, third}
    assert commits(until="@1700007300") == {first, second}
    assert commits(since="2023-11-14", until="2023-11-15") == {first, second, third}
    assert commits(paths=("src/**",)) == {first, second}
    assert commits(paths=("*.py", "!tools/**")) == {first}
    assert commits(languages=("js",)) == {second}
    assert [example.path for example in mine(history.path, languages=("md",))] == ["doc.md"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"languages": ("pyhton",)}, "Unknown language 'pyhton'"),
        ({"languages": ()}, "empty"),
        ({"since": "wibble"}, "is not a date"),
        ({"until": "6 monhts ago"}, "is not a date"),
        ({"since": "6 months"}, "amount of time"),
        ({"since": "2024-02-30"}, "no such day"),
        ({"since": "2024-03-01", "until": "2024-02-01"}, "later than"),
        ({"paths": ("",)}, "matches nothing"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(history, options, said):
    history.write("a.py", AREA)
    history.commit()
    with pytest.raises(UserError, match=said):
        open_source("git", str(history.path), SourceOptions(**options))


def test_leaving_early_ends_the_processes(history):
    for number in range(30):
        history.write(f"f{number}.py", AREA.replace("area", f"area_{number}"))
    history.commit()
    stream = open_source("git", str(history.path), SourceOptions()).examples(Funnel(), silent)
    next(stream)
    stream.close()
    children = Path("/proc/self/task")
    if children.exists():
        running = "".join(path.read_text() for path in children.glob("*/children"))
        assert running.split() == []


def test_git_missing_is_a_clear_error(history, monkeypatch, tmp_path):
    history.write("a.py", AREA)
    history.commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git cannot be run"):
        open_source("git", str(history.path), SourceOptions())


def test_sha256_repositories(tmp_path, mine, new_history):
    history = new_history("wide")
    shutil.rmtree(history.path / ".git")
    history.git("init", "-q", "--object-format=sha256", "-b", "main")
    history.write("a.py", AREA)
    oid = history.commit()
    assert [example.commit for example in mine(history.path)] == [oid]
    assert len(oid) == 64
