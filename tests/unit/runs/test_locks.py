import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neuralforge.errors import RunError
from neuralforge.runs import locks

HOLD = """
import sys, time
from pathlib import Path
from neuralforge.runs import locks
with locks.exclusive(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_holder_is_refused_by_name_and_sigkill_frees_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert locks.is_held(path)
        with pytest.raises(RunError, match=f"process {child.pid}"), locks.exclusive(path, "The run x"):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not locks.is_held(path)
    with locks.exclusive(path, "it"):
        assert locks.holder(path) == os.getpid()
        assert locks.is_held(path)
        with pytest.raises(RunError), locks.exclusive(path, "it"):
            pass


def test_asking_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not locks.is_held(path)
    assert not path.exists()
    assert locks.holder(path) is None
    path.write_text("not a number")
    assert locks.holder(path) is None


def test_lock_in_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Cannot open the lock"), locks.exclusive(tmp_path / "no" / "lock", "it"):
        pass
