import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.data import jsonl
from neuralforge.data.formats import KINDS, BadRecord, to_example
from neuralforge.data.jsonl import parse_line, read_examples, write_examples
from neuralforge.data.records import Example, Funnel
from neuralforge.errors import DataError

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_PATH = st.binary(min_size=1, max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
_EXAMPLES = st.builds(
    Example,
    prefix=_TEXT,
    completion=_TEXT,
    suffix=_TEXT,
    kind=st.sampled_from(sorted(KINDS)),
    language=st.sampled_from(["python", "c++", "text", "common lisp"]),
    path=st.none() | _PATH,
    offset=st.none() | st.integers(0, 10**9),
    commit=st.none() | st.text("0123456789abcdef", min_size=40, max_size=40),
    author_time=st.none() | st.integers(-(1 << 35), 1 << 35),
    author=st.none() | st.text("0123456789abcdef", min_size=16, max_size=16),
    licence=st.none() | st.sampled_from(["MIT", "Apache-2.0 OR MIT"]),
)


@given(_EXAMPLES)
def test_what_is_written_is_read_back_exactly(example: Example) -> None:
    line = json.dumps(example.to_json()).encode("ascii")
    assert parse_line(line) == example


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_a_file_round_trips_and_equal_examples_give_equal_bytes(tmp_path: Path, name: str) -> None:
    examples = [Example("a\r\n", "b\u2028\x85c", "d", path="x\udcff y\n.py"), Example("", "é\U0001f600")]
    path = tmp_path / "folder" / name
    assert write_examples(path, examples) == 2
    first = path.read_bytes()
    assert list(read_examples(path)) == examples
    assert write_examples(path, read_examples(path)) == 2
    assert path.read_bytes() == first


SHAPES: list[tuple[dict[str, Any], Example]] = [
    (
        {"context": "int x", "completion": " = 1;", "language": "Java"},
        Example("int x", " = 1;", language="java"),
    ),
    ({"context": None, "completion": "a"}, Example("", "a")),
    ({"text": "t", "language": "JS"}, Example("", "t", kind="text", language="javascript")),
    ({"text": "t", "license": "A whole\ntext"}, Example("", "t", kind="text")),
    ({"text": "t", "metadata": {"author_time": 1_700_000_000_000}}, Example("", "t", kind="text")),
    ({"prefix": "a", "middle": "b", "suffix": "c"}, Example("a", "b", "c")),
    ({"prefix": "a", "middle": "b"}, Example("a", "b")),
    (
        {"input": "q", "output": "r", "metadata": {"language": "Go", "license": "MIT", "offset": "no", "x": 1}},
        Example("q", "r", language="go", licence="MIT"),
    ),
    ({"instruction": "Do", "input": "x", "output": "y"}, Example("Do\n\nx\n\n", "y", kind="instruction")),
    ({"instruction": "Do", "input": "", "output": "y"}, Example("Do\n\n", "y", kind="instruction")),
    ({"text": "hello"}, Example("", "hello", kind="text")),
    (
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Bye"},
                {"role": "assistant", "content": "Ciao"},
                {"role": "user", "content": "?"},
            ]
        },
        Example("System: Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Bye\n\nAssistant: ", "Ciao", kind="chat"),
    ),
    # Several shapes at once: the documented order decides.
    ({"text": "t", "prefix": "p", "middle": "m", "context": "c", "completion": "d"}, Example("p", "m")),
    ({"text": "t", "input": "i", "output": "o", "instruction": "n"}, Example("n\n\ni\n\n", "o", kind="instruction")),
    ({"text": "t", "context": "c", "completion": "d", "messages": []}, Example("c", "d")),
    # People's names are not stored, only the digest.
    ({"text": "t", "author": "Ada <ada@lovelace.org>"}, Example("", "t", kind="text")),
    ({"text": "t", "author": "0123456789abcdef", "author_time": 5.0}, None),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("record", "expected"), SHAPES)
def test_shapes_are_recognised_by_their_keys(record: dict[str, Any], expected: Example | None) -> None:
    found = to_example(record)
    if expected is None:
        assert (found.author, found.author_time) == ("0123456789abcdef", 5)
    else:
        assert found == expected


BAD: list[tuple[bytes, str, str]] = [
    (b"{", "not JSON", "not JSON"),
    (b'{"text": NaN}', "not JSON", "NaN"),
    (b'{"offset": ' + b"9" * 5_000 + b"}", "not JSON", "cannot be read"),
    (b'{"a":' * 100_000, "nested too deeply", "nested"),
    (b'{"text": "\xff"}', "not UTF-8", "byte 10"),
    (b"[1]", "not an object", "a list"),
    (b'"text"', "not an object", "text"),
    (b"{}", "unknown keys", "none"),
    (b'{"code": "x"}', "unknown keys", "'code'"),
    (b'{"context": "x"}', "unknown keys", "'context'"),
    (b'{"text": 1}', "wrong type", "'text' must be text, not a number"),
    (b'{"text": null}', "wrong type", "null"),
    (b'{"context": [], "completion": "x"}', "wrong type", "'context'"),
    (b'{"text": "x", "language": 3}', "wrong type", "'language'"),
    (b'{"text": "x", "offset": "3"}', "wrong type", "'offset'"),
    (b'{"text": "x", "offset": true}', "wrong type", "true/false"),
    (b'{"text": "x", "text": "y"}', "duplicate key", "'text'"),
    (b'{"text": "\\ud800"}', "broken text", "surrogate"),
    (b'{"messages": "x"}', "wrong type", "list"),
    (b'{"messages": []}', "no answer", "assistant"),
    (b'{"messages": [{"role": "user", "content": "x"}]}', "no answer", "assistant"),
    (b'{"messages": [1]}', "wrong type", "message 0"),
    (b'{"messages": [{"role": 1}]}', "wrong type", "role"),
    (b'{"messages": [{"role": "assistant", "content": {}}]}', "wrong type", "content"),
    (b'{"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}', "wrong type", "not text"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), BAD)
def test_a_bad_line_is_named_or_skipped_and_counted(tmp_path: Path, line: bytes, reason: str, detail: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "first"}\r\n\r\n' + line + b'\n{"text": "last"}')
    with pytest.raises(DataError) as failure:
        list(read_examples(path))
    assert f"{path}, line 3: " in failure.value.message
    assert detail in failure.value.message
    assert failure.value.hint
    funnel = Funnel()
    examples = list(read_examples(path, skip_bad=True, funnel=funnel))
    assert [example.completion for example in examples] == ["first", "last"]
    assert funnel.dropped == {f"bad line: {reason}": 1}
    assert funnel.seen == funnel.kept + funnel.dropped.total() == 3


def test_an_over_long_line_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE", 1 << 20)
    path = tmp_path / "set.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * (3 << 20) + b'"}\n{"text": "last"}\n')
    with pytest.raises(DataError, match="line 1: it is longer than 1 MiB"):
        list(read_examples(path))
    assert [example.completion for example in read_examples(path, skip_bad=True)] == ["last"]


@pytest.mark.parametrize("content", [b"", b"\n\r\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is empty"):
        list(read_examples(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        read_examples(tmp_path)
    wide = tmp_path / "wide.jsonl"
    wide.write_text('{"text": "x"}', encoding="utf-16")
    with pytest.raises(DataError, match="UTF-16"):
        list(read_examples(wide))
    bad = tmp_path / "bad.jsonl"
    bad.write_text("no\nno\n")
    with pytest.raises(DataError, match="none of its 2 lines"):
        list(read_examples(bad, skip_bad=True))


@pytest.mark.parametrize("damage", ["not gzip", "cut"])
def test_damaged_gzip_is_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "set.jsonl.gz"
    whole = gzip.compress(b'{"text": "abcdefghij"}\n' * 1_000)
    path.write_bytes(b"plain text" if damage == "not gzip" else whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged gzip"):
        list(read_examples(path))


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("old")

    def failing() -> Any:
        yield Example("", "new")
        raise BadRecord("any", "stopped")

    with pytest.raises(BadRecord):
        write_examples(path, failing())
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.jsonl"]
