import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources import files, hub, jsonl
from neuralforge.data.sources.base import DataSource, SourceOptions, open_source
from neuralforge.errors import DataError, RemoteError, UserError
from neuralforge.runs.events import silent

JAVA = "class {name} {{\n    int area(int width) {{\n        return width * {name}.HEIGHT;\n    }}\n}}\n"
MIT = "Permission is hereby granted, free of charge ... the above copyright notice and this permission notice"


def _taken(source: DataSource) -> tuple[list[Example], Funnel]:
    funnel = Funnel()
    examples = list(source.examples(funnel, silent))
    assert funnel.seen == funnel.kept + funnel.dropped.total()
    assert funnel.kept == len(examples)
    return examples, funnel


def _folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "vendor").mkdir()
    (root / "LICENSE").write_text(MIT)
    (root / "src" / "A b.java").write_text(JAVA.format(name="Alpha"))
    (root / "src" / "Crlf.java").write_bytes(JAVA.format(name="Beta").replace("\n", "\r\n").encode())
    (root / "src" / "tool.py").write_text("def tool(value):\n    return value + 1\n")
    (root / "vendor" / "V.java").write_text(JAVA.format(name="Vendored"))
    (root / "README.md").write_text("# Prose\n")
    return root


def test_files_are_cut_into_examples_that_join_to_the_file(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    examples, funnel = _taken(files.open_source(str(root), SourceOptions(patterns=("*.java",))))
    assert {example.path for example in examples} == {"src/A b.java", "src/Crlf.java"}
    assert {example.licence for example in examples} == {"MIT"}
    assert {example.kind for example in examples} == {"file"}
    for example in examples:
        assert "\r" not in example.completion
        assert example.offset == len(example.prefix)
        assert (root / (example.path or "")).read_text().startswith(example.prefix + example.completion)
    assert funnel.dropped["vendored"] == 1
    assert funnel.dropped["pattern not matched"] == 3


def test_languages_paths_and_numbers_narrow(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    assert {e.language for e in _taken(files.open_source(str(root), SourceOptions()))[0]} == {"java", "python"}
    assert {e.language for e in _taken(files.open_source(str(root), SourceOptions(languages=("py",))))[0]} == {"python"}
    only = _taken(files.open_source(str(root), SourceOptions(paths=("src/tool*",))))[0]
    assert {example.path for example in only} == {"src/tool.py"}
    assert len(_taken(files.open_source(str(root), SourceOptions(max_examples=1)))[0]) == 1
    both = _taken(files.open_source(str(root), SourceOptions(patterns=("*.md", "*.java"))))[0]
    assert {example.language for example in both} == {"markdown", "java"}
    prose = _taken(files.open_source(str(root), SourceOptions(patterns=("*.md",))))[0]
    assert {example.language for example in prose} == {"markdown"}
    one = _taken(files.open_source(str(root / "src" / "tool.py"), SourceOptions()))[0]
    assert [example.path for example in one] == ["tool.py"]


def test_ignore_files_links_large_and_binary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _folder(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "Secret.java").write_text(JAVA.format(name="Outside"))
    (root / "linked").symlink_to(outside)
    (root / "Link.java").symlink_to(outside / "Secret.java")
    (root / "Gone.java").symlink_to(root / "nowhere")
    (root / ".neuralforgeignore").write_text("Crlf.java\n")
    (root / "Large.java").write_text(JAVA.format(name="Large") * 40)
    (root / "Binary.java").write_bytes(b"\0\1\2" * 100)
    (root / "Empty.java").write_text("\n")
    os.mkfifo(root / "Pipe.java")
    monkeypatch.setattr(files, "MAX_FILE", 2_000)
    examples, funnel = _taken(files.open_source(str(root), SourceOptions(languages=("java",))))
    assert {example.path for example in examples} == {"src/A b.java"}
    assert funnel.dropped["ignored"] == 1
    assert funnel.dropped["symbolic link"] == 3
    assert funnel.dropped["file too large"] == 1
    assert funnel.dropped["binary"] == 1
    assert funnel.dropped["empty file"] == 1
    assert funnel.dropped["not a regular file"] == 1


def test_long_files_keep_whole_lines_around(tmp_path: Path) -> None:
    root = tmp_path / "p"
    root.mkdir()
    text = "".join(f"def function_{n}(value):\n    return value * {n} + function_{n}(value)\n\n\n" for n in range(400))
    (root / "long.py").write_text(text)
    examples, _ = _taken(files.open_source(str(root), SourceOptions()))
    assert len(examples) > 50
    for example in examples:
        start = example.offset or 0
        assert text[start : start + len(example.completion)] == example.completion
        assert text[:start].endswith(example.prefix)
        assert text[start + len(example.completion) :].startswith(example.suffix)
        assert start == 0 or text[start - 1] == "\n"
        before = start - len(example.prefix)
        assert before == 0 or text[before - 1] == "\n"
        assert len(example.prefix) <= files.BEFORE
        assert len(example.suffix) <= files.AFTER


def test_what_is_too_long_for_an_example_is_counted(tmp_path: Path) -> None:
    table = "TABLE = [\n" + "".join(f"    {number:060},\n" for number in range(400)) + "]\n"
    (tmp_path / "a.py").write_text("def before(value):\n    return value + 1\n\n\n" + table)
    examples, funnel = _taken(files.open_source(str(tmp_path), SourceOptions()))
    assert len(examples) == 1
    assert funnel.dropped["over-long"] == 1


def test_undecodable_names_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "p"
    root.mkdir()
    raw = os.fsencode(root) + b"/caf\xe9\n.py"
    try:
        with open(raw, "w") as handle:  # noqa: PTH123
            handle.write("def coffee(cups):\n    return cups * 2\n")
    except OSError:
        pytest.skip("this file system refuses such names")
    examples, _ = _taken(files.open_source(str(root), SourceOptions()))
    assert [example.path for example in examples] == ["caf\udce9\n.py"]


def test_files_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        files.open_source(str(tmp_path / "none"), SourceOptions())
    with pytest.raises(UserError, match="matches nothing"):
        files.open_source(str(tmp_path), SourceOptions(patterns=("  ",)))
    with pytest.raises(DataError, match="no file to use"):
        _taken(files.open_source(str(tmp_path), SourceOptions(patterns=("*.java",))))


def test_jsonl_source(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"text":"a","language":"go"}\nbad\n{"text":"b","path":"x/y.py"}\n{"text":"c"}\n')
    examples, funnel = _taken(jsonl.open_source(str(path), SourceOptions(skip_bad=True)))
    assert [example.completion for example in examples] == ["a", "b", "c"]
    assert funnel.dropped == {"bad line: not JSON": 1}
    with pytest.raises(DataError, match="line 2"):
        _taken(jsonl.open_source(str(path), SourceOptions()))
    assert len(_taken(jsonl.open_source(str(path), SourceOptions(languages=("go",), skip_bad=True)))[0]) == 1
    assert len(_taken(jsonl.open_source(str(path), SourceOptions(paths=("z/**",), skip_bad=True)))[0]) == 2
    assert len(_taken(jsonl.open_source(str(path), SourceOptions(max_examples=1)))[0]) == 1
    with pytest.raises(DataError, match="is a folder"):
        jsonl.open_source(str(tmp_path), SourceOptions())


def test_built_in_sources_come_through_the_entry_points(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"text":"a"}\n')
    assert len(_taken(open_source("jsonl", str(path)))[0]) == 1
    assert _taken(open_source("files", str(_folder(tmp_path))))[0]


class _Hub:
    """Stands in for the `datasets` package."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = types.ModuleType("datasets")
        module.load_dataset = self.load  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "datasets", module)

    def load(self, *arguments: Any, **settings: Any) -> Iterator[Any]:
        self.calls.append((arguments, settings))
        for row in self.rows:
            if isinstance(row, Exception):
                raise row
            yield row


def test_hub_rows_are_streamed_and_columns_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Hub([{"content": "one", "lang": "Go"}, {"content": "two", "lang": "C"}, {"content": "three", "lang": "Go"}])
    fake.install(monkeypatch)
    location = "owner/name?split=test&config=small&revision=v1&text=content&language=lang"
    examples, funnel = _taken(hub.open_source(location, SourceOptions(languages=("go",))))
    assert [example.completion for example in examples] == ["one", "three"]
    assert funnel.dropped == {"language not chosen": 1}
    assert fake.calls == [(("owner/name", "small"), {"split": "test", "revision": "v1", "streaming": True})]


def test_hub_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Hub([{"text": 1}, {"text": "fine"}])
    fake.install(monkeypatch)
    with pytest.raises(DataError, match="row 1"):
        _taken(hub.open_source("owner/name", SourceOptions()))
    assert len(_taken(hub.open_source("owner/name", SourceOptions(skip_bad=True)))[0]) == 1
    fake.rows = [{"text": "x"}, ConnectionError("no route")]
    with pytest.raises(RemoteError, match="no route"):
        _taken(hub.open_source("owner/name", SourceOptions()))
    fake.rows = []
    with pytest.raises(DataError, match="no example"):
        _taken(hub.open_source("owner/name", SourceOptions()))


@pytest.mark.parametrize("location", ["", "../x", "a/b/c", "a b/c", "o/n?what=1", "o/n?split=", "o/..", "https://x/y"])
def test_bad_hub_locations_are_refused(location: str) -> None:
    with pytest.raises(UserError):
        hub.open_source(location, SourceOptions())


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="not installed") as failure:
        hub.open_source("owner/name", SourceOptions())
    assert "neuralforge[hub]" in failure.value.hint
