"""How fast a history is mined, beside PyDriller, and how much memory that takes.

    python benchmarks/mining.py REPOSITORY [REPOSITORY ...] [--pydriller PYTHON]
    python benchmarks/mining.py --synthetic 100000

The first form takes repositories that have one commit a release, splits every release into one commit a file (a
release's diff of one file is about what a person commits at once), and times mining and cleaning on that. PyDriller
(run by the interpreter given, for it need not be installed here) then extracts the same hunks.
The second form writes a synthetic history and a tenth of it, and shows the peak memory of mining each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GIT = ["git", "-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null"]
PERSON = "A Person <person@example.org>"
START = 1_600_000_000
ENDINGS = (".py", ".pyi", ".html", ".js", ".css", ".sh", ".bat")

PYDRILLER = """
import json, sys, time
from pydriller import Repository
endings = tuple(sys.argv[2].split(","))
started, commits, hunks = time.perf_counter(), 0, []
for commit in Repository(sys.argv[1]).traverse_commits():
    commits += 1
    for changed in commit.modified_files:
        if changed.new_path is None or not changed.new_path.endswith(endings):
            continue
        text = changed.source_code  # both tools need the file around what was added
        last = None
        for number, _ in changed.diff_parsed["added"]:
            if last is None or number != last + 1:
                hunks.append((commit.hash, changed.new_path, number))
            last = number
print(json.dumps({"seconds": time.perf_counter() - started, "commits": commits, "hunks": hunks}))
"""


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Output of one git command."""
    return subprocess.run(
        [*GIT, "-C", str(repository), *arguments], input=stdin, capture_output=True, check=True
    ).stdout


def split_history(sources: list[Path], target: Path) -> int:
    """Write the releases of ``sources`` to ``target``, one commit a changed file; returns the number of commits."""
    subprocess.run([*GIT, "init", "-q", "--bare", str(target)], check=True)
    objects = [git(source, "rev-parse", "--path-format=absolute", "--git-path", "objects") for source in sources]
    (target / "objects/info/alternates").write_bytes(b"".join(objects))
    stream = [b"feature done\n"]
    count = 0
    for source in sources:
        raw = git(source, "log", "--reverse", "--raw", "-z", "-M", "--no-abbrev", "--no-merges", "--format=%x01")
        fields = iter(raw.split(b"\0"))
        for field in fields:
            record = field.strip(b"\n")
            if not record.startswith(b":"):
                continue
            _, mode, _, oid, status = record.split(b" ")
            path = next(fields)
            lines = []
            if status[:1] == b"R":
                lines.append(b"D " + quoted(source, path))
                path = next(fields)
            where = quoted(source, path)
            lines.append(b"D " + where if status == b"D" else b"M " + mode + b" " + oid + b" " + where)
            when = START + 3_600 * count
            stream.append(f"commit refs/heads/main\ncommitter {PERSON} {when} +0000\ndata 15\nChange one file".encode())
            stream.append(b"\n" + b"\n".join(lines) + b"\n\n")
            count += 1
    stream.append(b"done\n")
    git(target, "fast-import", "--quiet", "--date-format=raw-permissive", "--force", stdin=b"".join(stream))
    git(target, "symbolic-ref", "HEAD", "refs/heads/main")
    git(target, "repack", "-a", "-d", "-q")
    (target / "objects/info/alternates").unlink()
    return count


def quoted(source: Path, path: bytes) -> bytes:
    """A path of fast-import, below a folder for its repository."""
    return b'"' + source.name.encode() + b"/" + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def synthetic_history(target: Path, commits: int) -> None:
    """A history of small edits to 200 Python files, each edit a new function and a changed line."""
    subprocess.run([*GIT, "init", "-q", "--bare", str(target)], check=True)
    with subprocess.Popen(
        [*GIT, "-C", str(target), "fast-import", "--quiet"], stdin=subprocess.PIPE, bufsize=1 << 20
    ) as process:
        assert process.stdin is not None
        for part in synthetic_stream(commits):
            process.stdin.write(part)
        process.stdin.close()
        assert process.wait() == 0
    git(target, "symbolic-ref", "HEAD", "refs/heads/main")


def synthetic_stream(commits: int) -> Iterator[bytes]:
    """The fast-import stream of ``synthetic_history``."""
    files: list[list[str]] = [[] for _ in range(200)]
    for number in range(commits):
        place = (number * 7919) % len(files)
        functions = files[place]
        functions.append(
            f"def measure_{number}(values, limit={number % 97}):\n"
            f'    """Count what exceeds the limit in series {number}."""\n'
            f"    kept = [value * {number % 13 + 1} for value in values if value > limit]\n"
            f"    return len(kept) - {number % 31}\n"
        )
        if len(functions) > 20:
            functions.pop(0)
        text = f"REVISION_OF_{place} = measure({number}, 'series')\n\n\n" + "\n\n".join(functions)
        content = text.encode()
        yield f"commit refs/heads/main\ncommitter {PERSON} {START + number} +0000\ndata 16\nAdd one function\n".encode()
        yield f"M 100644 inline package/module_{place}.py\ndata {len(content)}\n".encode() + content + b"\n"


def measure(repository: Path, clean: bool) -> dict[str, Any]:
    """Mine ``repository`` in this process: seconds, commits, examples, peak resident memory in bytes."""
    from neuralforge.data.records import Funnel
    from neuralforge.data.sources.base import SourceOptions, open_source
    from neuralforge.runs.events import silent

    if clean:
        from neuralforge.data.pipeline import CleaningOptions, collect
    funnel = Funnel()
    before = sum(os.times()[:4])
    started = time.perf_counter()
    source = open_source("git", str(repository), SourceOptions())
    if clean:
        count = len(collect(source, options=CleaningOptions(), funnel=funnel, emit=silent))
    else:
        count = sum(1 for _ in source.examples(funnel, silent))
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1_024
    return {
        "seconds": seconds,
        "processor": sum(os.times()[:4]) - before,
        "commits": funnel.commits,
        "examples": count,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "peak_git": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }


def in_new_process(repository: Path, clean: bool) -> dict[str, Any]:
    """``measure`` in an interpreter of its own, so that memory is that of one mining alone."""
    arguments = [sys.executable, __file__, "--measure", str(repository), *(["--clean"] if clean else [])]
    result: dict[str, Any] = json.loads(subprocess.run(arguments, capture_output=True, check=True).stdout)
    return result


def own_hunks(repository: Path) -> dict[str, Any]:
    """The job given to PyDriller, done with our reader: each run of added lines, and the text of the file around it."""
    from neuralforge.data.decoding import decode
    from neuralforge.data.sources.git.blobs import BlobReader
    from neuralforge.data.sources.git.commands import GitProcess
    from neuralforge.data.sources.git.log import HEADER, PATCH, read_commits

    started, commits, found = time.perf_counter(), 0, []
    with (
        GitProcess(repository, ["log", HEADER, *PATCH, "HEAD"]) as log,
        GitProcess(repository, ["cat-file", "--batch"], fed=True) as files,
    ):
        blobs = BlobReader(files)
        for commit in read_commits(log.output):
            commits += 1
            for change in commit.changes:
                path = change.path.decode("utf-8", "surrogateescape")
                if path.endswith(ENDINGS) and change.status != b"D":
                    blobs.ask([change.new_oid])
                    decode(blobs.take() or b"")
                    found += [(commit.oid, path, hunk.start) for hunk in change.hunks if hunk.count]
    return {"seconds": time.perf_counter() - started, "commits": commits, "hunks": found}


def show(name: str, result: dict[str, Any]) -> None:
    """One line a measurement."""
    line = f"{name:<28} {result['commits'] / result['seconds']:>8,.0f} commits/s  {result['seconds']:>7.2f} s"
    line += f"  {result['commits']:>7,} commits"
    if "examples" in result:
        line += f"  {result['examples']:>7,} examples  processor {result['processor']:.2f} s"
        line += f"  peak {result['peak'] / 2**20:,.0f} MiB (git {result['peak_git'] / 2**20:,.0f} MiB)"
    print(line)


def compare(sources: list[Path], python: str, repeat: int) -> None:
    """Mining and cleaning on a split history, and PyDriller on the same."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "history.git"
        split_history(sources, repository)
        show("mining", fastest(repository, False, repeat))
        show("mining and cleaning", fastest(repository, True, repeat))
        mine = min((own_hunks(repository) for _ in range(repeat)), key=lambda run: run["seconds"])
        show("hunks and their files alone", mine)
        done = subprocess.run(
            [python, "-c", PYDRILLER, str(repository), ",".join(ENDINGS)], capture_output=True, check=False
        )
        if done.returncode != 0:
            print(f"PyDriller did not run: {done.stderr.decode().strip().splitlines()[-1]}")
            return
        other = json.loads(done.stdout)
        show("PyDriller, the same hunks", other)
        own, its = set(mine["hunks"]), {tuple(hunk) for hunk in other["hunks"]}
        print(
            f"ratio {other['seconds'] / mine['seconds']:.1f}: {len(own):,} hunks here, {len(its):,} there, "
            f"{len(own & its):,} the same"
        )


def fastest(repository: Path, clean: bool, repeat: int) -> dict[str, Any]:
    """The fastest of several runs: others may be at work on the machine."""
    return min((in_new_process(repository, clean) for _ in range(repeat)), key=lambda run: float(run["seconds"]))


def flatness(commits: int) -> None:
    """Peak memory on a synthetic history and on a tenth of it."""
    with tempfile.TemporaryDirectory() as folder:
        for size in (commits // 10, commits):
            repository = Path(folder) / f"{size}.git"
            synthetic_history(repository, size)
            show(f"synthetic {size:,}", in_new_process(repository, False))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="*", type=Path)
    parser.add_argument("--pydriller", default=sys.executable, help="a Python interpreter that has PyDriller")
    parser.add_argument("--synthetic", type=int, help="number of commits of a made-up history")
    parser.add_argument("--repeat", type=int, default=3, help="take the fastest of so many runs")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--clean", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(json.dumps(measure(chosen.measure, chosen.clean)))
    elif chosen.synthetic:
        flatness(chosen.synthetic)
    elif chosen.repositories:
        compare([path.resolve() for path in chosen.repositories], chosen.pydriller, chosen.repeat)
    else:
        parser.error("name a repository, or give --synthetic")


if __name__ == "__main__":
    main()
