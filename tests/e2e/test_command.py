"""The installed program as a person meets it: in a pipe, in a terminal, interrupted, and over a whole data flow."""

import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from neuralforge import __version__
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Phase
from neuralforge.runs.log import EventLog

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "neuralforge")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEURALFORGE_")}
    return kept | {"NEURALFORGE_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits with functions added and changed, in a folder whose name has a space."""
    folder = tmp_path / "my repo"
    folder.mkdir()

    def git(*words: str, day: int = 1) -> None:
        date = f"2024-01-{day:02d}T12:00:00 +0000"
        names = {f"GIT_{role}_NAME": "Ann" for role in ("AUTHOR", "COMMITTER")}
        person = names | {f"GIT_{role}_EMAIL": "ann@example.org" for role in ("AUTHOR", "COMMITTER")}
        dates = {f"GIT_{role}_DATE": date for role in ("AUTHOR", "COMMITTER")}
        subprocess.run(["git", "-C", str(folder), *words], check=True, env=os.environ | person | dates)

    git("init", "-q")
    source = folder / "store.py"
    for day, (verb, noun) in enumerate([("load", "orders"), ("keep", "invoices"), ("send", "letters")], start=1):
        text = source.read_text() if source.exists() else ""
        source.write_text(
            f"{text}def {verb}_{noun}(path, limit):\n"
            f'    """{verb.title()} {noun} below a limit."""\n'
            f"    {noun} = [line.strip() for line in path.read_text().splitlines()]\n"
            f"    return sorted({noun}, key=len)[:limit]\n\n\n"
        )
        git("add", "-A")
        git("commit", "-qm", f"{verb.title()} {noun}", day=day)
    return folder


def call(environment: dict[str, str], *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=120)


def test_both_ways_to_start_it(environment: dict[str, str]) -> None:
    assert call(environment, "--version").stdout == f"neuralforge {__version__}\n"
    module = subprocess.run(
        [sys.executable, "-m", "neuralforge", "--version"], capture_output=True, text=True, env=environment, check=True
    )
    assert module.stdout == f"neuralforge {__version__}\n"


def test_from_history_to_a_split_data_set(environment: dict[str, str], repository: Path, tmp_path: Path) -> None:
    mined = call(
        environment, "extract-dataset", "--git-repo", repository, "--output", "m.jsonl", "--json", cwd=tmp_path
    )
    assert mined.returncode == 0, mined.stderr
    told = json.loads(mined.stdout)
    assert told["examples"] == told["funnel"]["kept"] >= 3
    assert "Warning: Only" in mined.stderr
    described = json.loads(call(environment, "analyze-dataset", "m.jsonl", "--json", cwd=tmp_path).stdout)
    assert described["examples"] == told["examples"]
    assert described["languages"] == {"python": told["examples"]}
    cleaned = call(
        environment, "clean-dataset", "m.jsonl", "--output", "c.jsonl", "--split", "--held-out", 0.34, "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert cleaned.returncode == 0, cleaned.stderr
    parts = json.loads(cleaned.stdout)
    assert parts["held_out"] >= 1
    newest = [json.loads(line)["author_time"] for line in (tmp_path / parts["evaluation"]).read_text().splitlines()]
    older = [json.loads(line)["author_time"] for line in (tmp_path / parts["train"]).read_text().splitlines()]
    assert min(newest) > max(older)


def test_tables_for_people(environment: dict[str, str], repository: Path, tmp_path: Path) -> None:
    call(environment, "extract-dataset", "--git-repo", repository, "--output", "m.jsonl", cwd=tmp_path)
    seen = call(environment, "analyze-dataset", "m.jsonl", cwd=tmp_path)
    assert seen.returncode == 0
    assert "languages" in seen.stdout
    assert "\x1b" not in seen.stdout + seen.stderr


def test_a_reader_that_leaves_early_is_met_with_silence(environment: dict[str, str]) -> None:
    program = subprocess.Popen(
        [PROGRAM, "config", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait(30) in (0, 1)
    program.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_control_c_is_130_without_a_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "name")
    with run.lock(), EventLog(run.events_path) as emit:
        emit(Phase("train"))
        program = subprocess.Popen(
            [sys.executable, "-c", LISTENING, PROGRAM, "monitor", str(run.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert program.stdout is not None
        assert program.stdout.readline().startswith("train")
        program.send_signal(signal.SIGINT)
        _, told = program.communicate(timeout=30)
    assert program.returncode == 130
    assert "Traceback" not in told


def session(
    environment: dict[str, str], words: list[str], *exchange: tuple[str, bytes], cwd: Path, seconds: float = 20
) -> tuple[int, str]:
    """Run the program in a pseudo-terminal; once the first of each pair is on the screen, type the second."""
    master, slave = os.openpty()
    setting = environment | {"TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, "-c", TERMINAL, PROGRAM, *words]
    program = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=setting, cwd=cwd, start_new_session=True
    )
    os.close(slave)
    screen, answers, deadline = "", list(exchange), time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.2)
            if ready:
                try:
                    chunk = os.read(master, 4096)
                except OSError:  # the program closed its end
                    break
                if not chunk:
                    break
                screen += chunk.decode(errors="replace")
            if answers and answers[0][0] in screen:
                # A person reads before typing. CPython can miss a control-C that comes while it prepares to read.
                time.sleep(0.5)
                os.write(master, answers.pop(0)[1])
        return program.wait(10), screen
    finally:
        program.kill()
        program.wait()
        os.close(master)


# Whoever starts the tests in the background may have told them, and all below them, to ignore control-C.
LISTENING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
# The pseudo-terminal has to be the program's controlling one, or control-C would mean nothing.
TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)" + LISTENING


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_in_a_terminal_it_draws(environment: dict[str, str], tmp_path: Path) -> None:
    code, screen = session(environment, ["doctor", "--quick"], cwd=tmp_path)
    assert code == 0
    assert "✓ look" in screen
    assert "Traceback" not in screen


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_in_a_terminal_it_asks(environment: dict[str, str], tmp_path: Path) -> None:
    answers = [("learn from", b"nowhere\n"), ("Base model [smollm2-135m]", b"\n"), ("Time for the whole", b"\n")]
    words = ["train", "--interactive", "--name", "../up"]
    code, screen = session(environment, words, *answers, cwd=tmp_path)
    assert code == 2
    assert "letters, digits" in " ".join(screen.split())
    code, screen = session(environment, ["train", "--interactive"], ("learn from", b"\x03"), cwd=tmp_path)
    assert code == 130
    assert "Traceback" not in screen
