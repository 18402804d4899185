#!/usr/bin/env python3
"""Make a git repository out of what a project has released: one commit for each source distribution.

    python benchmarks/release_history.py click ./click-history --releases 25

A package index serves the full text of every release for decades, so anybody can rebuild the same real, licensed
history of code anywhere, and try `neuralforge train --from-git` on it. Releases are fetched by pip, several at a
time; each commit has the files of one release and the date of its newest file, so that two people who run this get
the same commit hashes. pip asks a release for its metadata while it fetches it, which runs the release's own build
code: name projects that you would also install.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LARGEST_RELEASE = 512 << 20
MOST_FILES = 50_000
FINAL = re.compile(r"\d+(\.\d+)*")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class HistoryError(Exception):
    """The history cannot be built; the message says why."""


def final_versions(project: str) -> list[str]:
    """Final releases that the index lists, oldest first."""
    asked = subprocess.run([*PIP, "index", "versions", project], capture_output=True, text=True)
    listed = re.search(r"^Available versions: (.+)$", asked.stdout, re.MULTILINE)
    if listed is None:
        raise HistoryError(f"the index lists no versions of {project!r}: {_last_line(asked.stderr)}")
    newest_first = [version.strip() for version in listed.group(1).split(",")]
    return [version for version in reversed(newest_first) if FINAL.fullmatch(version)]


def fetch(project: str, version: str, folder: Path) -> Path | str:
    """Download one source distribution into its own folder; the archive, or why there is none."""
    target = folder / version
    # Only the project itself has to be a source distribution: its build tools may come as wheels.
    command = [*PIP, "download", "-q", "--no-deps", "--no-binary", project, "-d", str(target), f"{project}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True)
    archives = [*target.glob("*.tar.gz"), *target.glob("*.tgz")] if target.is_dir() else []
    return archives[0] if archives else _last_line(done.stderr)


def unpack(archive: Path, into: Path) -> tuple[Path, int]:
    """Unpack safely; the folder that holds the release, and when its newest file was made.

    The "data" filter refuses links and paths that leave the folder, and devices (PEP 706).
    """
    with tarfile.open(archive, "r:gz") as packed:
        members = []
        total = 0
        for member in packed:
            total += member.size
            members.append(member)
            if total > LARGEST_RELEASE or len(members) > MOST_FILES:
                raise HistoryError(f"{archive.name} is larger than {LARGEST_RELEASE >> 20} MiB or {MOST_FILES:,} files")
        packed.extractall(into, members, filter="data")
    inside = list(into.iterdir())
    root = inside[0] if len(inside) == 1 and inside[0].is_dir() else into
    return root, max((int(member.mtime) for member in members if member.isfile()), default=0)


def commit(repository: Path, project: str, version: str, root: Path, when: int) -> None:
    """Replace the tree of ``repository`` by the release in ``root`` and commit it, dated ``when`` (UTC)."""
    for entry in repository.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for entry in root.iterdir():
        if entry.name != ".git":
            shutil.move(entry, repository / entry.name)
    person = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (
            ("NAME", f"{project} releases"),
            ("EMAIL", f"{project}@releases.invalid"),
            ("DATE", f"{when} +0000"),
        )
    }
    _git(repository, "add", "--all", "--force")
    _git(repository, "commit", "--quiet", "--allow-empty", "--message", f"Release {project} {version}", **person)


def build(project: str, target: Path, releases: int, workers: int) -> Iterator[str]:
    """Build the repository in ``target``, telling each release as it is committed or left out."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise HistoryError(f"{target} exists and is not an empty folder")
    versions = final_versions(project)[-releases:]
    target.mkdir(parents=True, exist_ok=True)
    _git(target, "init", "--quiet", "--initial-branch", "main")
    committed, latest = 0, 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(workers) as pool:
        fetched = [pool.submit(fetch, project, version, Path(scratch) / "archives") for version in versions]
        for number, (version, future) in enumerate(zip(versions, fetched, strict=True), start=1):
            found = future.result()
            if isinstance(found, str):
                yield f"[{number}/{len(versions)}] {project} {version}: left out ({found})"
                continue
            with tempfile.TemporaryDirectory(dir=scratch) as unpacked:
                root, when = unpack(found, Path(unpacked))
                # Some archives carry a reset clock: time must not run backwards from one release to the next.
                latest = max(when, latest + 1)
                commit(target, project, version, root, latest)
            committed += 1
            yield f"[{number}/{len(versions)}] {project} {version}"
    if not committed:
        raise HistoryError(f"no release of {project!r} could be fetched as a source distribution")
    yield f"{committed} releases of {project} in {target}"


def _git(repository: Path, *arguments: str, **environment: str) -> None:
    command = ["git", "-c", "core.autocrlf=false", "-c", "commit.gpgsign=false", "-C", str(repository), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise HistoryError(f"git {arguments[0]} failed: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]


def main() -> int:
    """Read the command line and build; errors are one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", help="name on the package index")
    parser.add_argument("folder", type=Path, help="the repository to make")
    parser.add_argument("--releases", type=int, default=25, metavar="N", help="newest N final releases (default 25)")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="downloads at a time (default 4)")
    options = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", options.project) or options.releases < 1 or options.workers < 1:
        parser.error("the project must be a plain name, and both counts at least 1")
    try:
        for told in build(options.project, options.folder, options.releases, options.workers):
            print(told, flush=True)
    except (HistoryError, OSError, tarfile.TarError) as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
