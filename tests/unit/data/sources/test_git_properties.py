"""Invariants over random edit histories, and the stream reader at every possible break of its input."""

import io
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.data.records import Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.data.sources.git.commands import GitProcess
from neuralforge.data.sources.git.log import HEADER, PATCH, read_commits
from neuralforge.runs.events import silent

LINES = (
    "def measure_everything(values):",
    "    total = sum(value * 2 for value in values)",
    "    return total",
    "class Collector:",
    "    def collect(self, größe):",
    "        self.everything.append(größe)",
    "if __name__ == '__main__':",
    "",
    "    # a remark about what follows",
    "x",
    "\x0cimport collections.abc",
    "message = 'line\u2028separator and \x85 another'",
    "@@ -1,2 +1,2 @@ looks like a hunk",
    "-looks_like = 'removed line'",
)
version = st.lists(st.sampled_from(LINES), max_size=14)
histories = st.lists(st.tuples(version, st.booleans(), st.booleans()), min_size=1, max_size=5)


def write_history(folder: Path, versions: list[bytes]) -> None:
    """One commit a version of ``a.py``, through fast-import."""
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    stream = b""
    for number, content in enumerate(versions):
        stream += b"commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata 6\nChange\n" % (1_700_000_000 + number)
        stream += b"M 100644 inline a.py\ndata %d\n%s\n" % (len(content), content)
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)
    subprocess.run(["git", "-C", str(folder), "symbolic-ref", "HEAD", "refs/heads/main"], check=True)


@settings(max_examples=40, deadline=None)
@given(histories, st.booleans())
def test_every_example_is_added_lines_in_their_place(steps, allow_mid_line):
    texts = ["\n".join(lines) + ("\n" if lines and final else "") for lines, _, final in steps]
    contents = [
        (text.replace("\n", "\r\n") if dos else text).encode() for text, (_, dos, _) in zip(texts, steps, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "r.git"
        write_history(repository, contents)
        listed = subprocess.run(
            ["git", "-C", str(repository), "rev-list", "--reverse", "main"], capture_output=True, check=True, text=True
        ).stdout.split()
        funnel = Funnel()
        options = SourceOptions(allow_mid_line=allow_mid_line)
        mined = list(open_source("git", str(repository), options).examples(funnel, silent))
        assert funnel.seen == funnel.kept + funnel.dropped.total()
        assert funnel.kept == len(mined)
        assert funnel.commits == len(listed)
        places = set()
        for example in mined:
            place = listed.index(example.commit)
            text, at = texts[place], example.offset
            assert text[at : at + len(example.completion)] == example.completion
            assert text[:at].endswith(example.prefix)
            assert text[at + len(example.completion) :].startswith(example.suffix)
            if not allow_mid_line:
                assert at == 0 or text[at - 1] == "\n"
            before = texts[place - 1].split("\n") if place else []
            after = text.split("\n")
            first = text.count("\n", 0, at)
            count = example.completion.count("\n") + 1
            if not steps[place][1] and (
                not place or not steps[place - 1][1]
            ):  # else every line changed with its ending
                added = added_lines(repository, example.commit)
                assert set(range(first, first + count)) <= added, (before, after)
            assert (example.commit, at) not in places
            places.add((example.commit, at))


def added_lines(repository: Path, oid: str) -> set[int]:
    """Indices of the lines git calls added, by another of its programs than the one under test."""
    shown = subprocess.run(
        ["git", "-C", str(repository), "diff-tree", "--root", "--no-commit-id", "-p", "-U100000", oid, "--", "a.py"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    added, place, started = set(), 0, False
    for line in shown.split("\n"):
        if not started:
            started = line.startswith("@@")
        elif line.startswith("+"):
            added.add(place)
            place += 1
        elif line.startswith(" "):
            place += 1
    return added


class Dripping(io.RawIOBase):
    """A pipe that gives ``size`` bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = content, size

    def read1(self, _: int) -> bytes:
        given, self._content = self._content[: self._size], self._content[self._size :]
        return given


@pytest.fixture
def stream(history):
    """What git log writes for a small history with a bit of everything."""
    history.write("a.py", "one = 1\ntwo = 2\n")
    history.write("b c.py", "three = 3")
    history.write("d.bin", b"\0\1\2")
    (history.path / "link").symlink_to("a.py")
    history.commit("Begin\n\nwith a body\n")
    history.git("mv", "a.py", "moved.py")
    history.write("b c.py", "three = 3\nfour = 4\n")
    history.commit("Move")
    (history.path / "link").unlink()
    history.write("link", "a file now\n")
    history.commit("Change a type")
    history.commit("Nothing")
    history.git("rm", "-q", "d.bin", "moved.py")
    history.commit("Remove")
    with GitProcess(history.path / ".git", ["log", HEADER, *PATCH, "HEAD"]) as log:
        return log.output.read()


def test_the_reader_gives_the_same_however_its_input_is_broken(stream):
    whole = list(read_commits(Dripping(stream, len(stream))))
    assert [commit.subject for commit in whole] == ["Remove", "Nothing", "Change a type", "Move", "Begin"]
    assert [len(commit.changes) for commit in whole] == [2, 0, 1, 2, 4]
    assert [(hunk.start, hunk.count, hunk.removed) for hunk in whole[3].changes[0].hunks] == [(1, 2, b"-three = 3\n")]
    assert whole[4].body == "with a body\n"
    for size in (1, 2, 3, 7, 64, 1_000):
        assert list(read_commits(Dripping(stream, size))) == whole


def test_a_stream_that_breaks_off_inside_a_commit_is_noticed(stream):
    noticed = 0
    for end in range(1, len(stream), 13):
        try:
            list(read_commits(Dripping(stream[:end], 1 << 16)))
        except EOFError:
            noticed += 1
    assert noticed > len(stream) / 13 / 3
