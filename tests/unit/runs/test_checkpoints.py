import errno
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.errors import RunError
from neuralforge.runs.checkpoints import MANIFEST, CheckpointStore
from neuralforge.runs.events import Event, Note


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    def write(handle: BinaryIO) -> None:
        handle.write(b"????world")
        handle.seek(0)
        handle.write(b"hell")

    store = CheckpointStore(tmp_path / "c")
    assert store.latest() is None
    path = store.save(3, {"weights": b"abc", "state.json": write})
    found = CheckpointStore(tmp_path / "c").latest()
    assert found is not None
    assert (found.path, found.step, found.read("weights"), found.read("state.json")) == (path, 3, b"abc", b"hellworld")
    with pytest.raises(RunError, match="has no 'optimizer'"):
        found.file("optimizer")


def test_newest_and_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(1, 7):
        store.save(step, {"w": str(step).encode()}, best=step == 2)
    assert names(tmp_path) == ["step-00000002", "step-00000005", "step-00000006"]
    best, latest = store.best(), CheckpointStore(tmp_path).latest()
    assert best is not None
    assert latest is not None
    assert (best.step, latest.step) == (2, 6)


def test_going_back_also_goes_back_to_what_was_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    store.save(1, {"w": b"1"}, best=True)
    store.save(2, {"w": b"2"})
    store.save(3, {"w": b"3"}, best=True)
    (tmp_path / "step-00000003" / "w").write_bytes(b"x")
    best = store.best()
    assert best is not None
    assert best.step == 1


def test_no_best_was_marked(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    assert store.best() is None
    store.save(1, {"w": b"1"})
    assert store.best() is None


def test_damaged_best_gives_way_to_the_latest(tmp_path: Path) -> None:
    told: list[Event] = []
    store = CheckpointStore(tmp_path, keep=1, emit=told.append)
    store.save(1, {"w": b"1"}, best=True)
    store.save(2, {"w": b"2"})
    (tmp_path / "step-00000001" / "w").unlink()
    best = store.best()
    assert best is not None
    assert best.step == 2
    assert len(told) == 2


def test_the_same_step_again_replaces_without_a_gap(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    for content in (b"a", b"b", b"c"):
        store.save(4, {"w": content})
    found = store.latest()
    assert found is not None
    assert found.read("w") == b"c"
    assert len(names(tmp_path)) == 1


def test_an_older_step_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(4, {"w": b"a"})
    with pytest.raises(RunError, match="newer than step 3"):
        store.save(3, {"w": b"a"})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", MANIFEST, "a\0"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not names"):
        CheckpointStore(tmp_path).save(1, {name: b""})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_sets_the_checkpoint_aside(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("c")
    told: list[Event] = []
    store = CheckpointStore(folder, emit=told.append)
    store.save(1, {"w": b"older"})
    newest = store.save(2, {"w": b"some weights", "o": b"state"})
    victim = newest / data.draw(st.sampled_from(["w", "o", MANIFEST]))
    content = bytearray(victim.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    victim.write_bytes(content)
    found = store.latest()
    assert found is not None
    # Space between JSON tokens may change without changing what is said.
    assert found.step == 1 or (victim.name == MANIFEST and found.read("w") == b"some weights")
    if found.step == 1:
        assert names(folder) == ["corrupt-step-00000002", "step-00000001"]
        assert isinstance(told[0], Note)


def test_missing_linked_or_short_files_are_noticed(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=5)
    for step in (1, 2, 3, 4):
        store.save(step, {"w": b"abc"})
    (tmp_path / "step-00000004" / "w").write_bytes(b"ab")
    (tmp_path / "step-00000003" / "w").unlink()
    (tmp_path / "step-00000002" / "w").unlink()
    (tmp_path / "step-00000002" / "w").symlink_to(tmp_path / "step-00000001" / "w")
    found = store.latest()
    assert found is not None
    assert found.step == 1
    store.save(2, {"w": b"again"})
    (tmp_path / "step-00000002" / "w").write_bytes(b"Again")
    assert store.latest() == found
    assert "corrupt-step-00000002-2" in names(tmp_path)


def test_leftovers_of_a_killed_save_go(tmp_path: Path) -> None:
    (tmp_path / ".saving-xyz").mkdir()
    (tmp_path / ".saving-xyz" / "w").write_bytes(b"half")
    store = CheckpointStore(tmp_path)
    assert store.latest() is None
    store.save(1, {"w": b"1"})
    assert names(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_disk_that_fails_leaves_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails_at: int
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"w": b"good", "o": b"good"})
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(RunError, match=os.strerror(code)):
        store.save(2, {"w": b"new", "o": b"new"})
    assert names(tmp_path) == ["step-00000001"]
    found = store.latest()
    assert found is not None
    assert found.read("w") == b"good"


FULL = """
import resource, signal, sys
from pathlib import Path
from neuralforge.errors import RunError
from neuralforge.runs.checkpoints import CheckpointStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = CheckpointStore(Path(sys.argv[1]))
store.save(1, {"w": b"good"})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.save(2, {"w": bytes(200_000)})
except RunError as failure:
    print(failure.message)
    sys.exit(4)
"""


def test_the_operating_system_cuts_a_write_short(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    assert "Cannot save the checkpoint of step 2" in done.stdout
    found = CheckpointStore(tmp_path).latest()
    assert found is not None
    assert found.read("w") == b"good"
    assert names(tmp_path) == ["step-00000001"]


SAVING = """
import hashlib, os, sys
from pathlib import Path
from neuralforge.runs.checkpoints import CheckpointStore

def work():
    store = CheckpointStore(Path(sys.argv[1]))
    found = store.latest()
    step = found.step if found else 0
    while True:
        step += 1
        weights = hashlib.sha256(str(step).encode()).digest() * 20_000
        store.save(step, {"weights": weights, "step": str(step).encode()}, best=step % 3 == 0)
        os.write(1, b"saved\\n")

for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        work()
    os.write(1, f"{child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def test_fifty_kills_while_saving(tmp_path: Path) -> None:
    """Whatever moment the process dies at, the newest checkpoint is whole and is not older than the one before."""
    dice = random.Random(7)
    reached = 0
    command = [sys.executable, "-c", SAVING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as saver:
        assert saver.stdin is not None
        assert saver.stdout is not None
        for _ in range(50):
            saver.stdin.write("go\n")
            lines: list[str] = []
            while not ("saved\n" in lines and any(line.strip().isdigit() for line in lines)):
                lines.append(saver.stdout.readline())
            victim = next(int(line) for line in lines if line.strip().isdigit())
            time.sleep(dice.uniform(0, 0.03))
            os.kill(victim, signal.SIGKILL)
            while saver.stdout.readline() != "dead\n":
                pass
            told: list[Event] = []
            store = CheckpointStore(tmp_path, emit=told.append)
            found = store.latest()
            assert told == []
            assert found is not None
            assert found.step > reached
            reached = found.step
            assert found.read("step") == str(found.step).encode()
            assert found.read("weights") == hashlib.sha256(str(found.step).encode()).digest() * 20_000
            best = store.best()
            assert (best.step if best else 0) == found.step // 3 * 3
        saver.stdin.close()
