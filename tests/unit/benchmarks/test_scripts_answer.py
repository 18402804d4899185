"""The benchmarks start: each can be imported and says how to run it, without loading torch for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))

LOOK = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert end.code in (0, None), end.code
loaded = {"torch", "transformers", "trl"} & sys.modules.keys()
assert not loaded, loaded
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOOK, str(FOLDER / script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python benchmarks/{script}" in done.stdout
