"""The order of the rooms, the public names, and what a command may load before it has to compute."""

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import neuralforge

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "peft", "datasets", "tensorboard", "wandb"}
# What the overview must not pay for; each of these costs 25 to 85 ms of a process that starts in 25.
SLOW = {*HEAVY, "pydantic", "rich", "yaml", "numpy", "git", "psutil", "safetensors", "rensa", "gguf", "asyncio"}

PROBE = """
import json, sys
from neuralforge.cli.app import run
code = run(sys.argv[1:])
sys.stdout.flush()
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def loaded_by(*arguments: str, cwd: Path | None = None) -> tuple[int, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, cwd=cwd, timeout=60, check=True
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules)


def test_the_contracts_hold() -> None:
    """The layers and prohibitions of pyproject.toml, as ``lint-imports`` checks them."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_the_overview_loads_nothing_slow(option: str) -> None:
    code, modules = loaded_by(option)
    assert code == 0
    assert not modules & SLOW


@pytest.mark.parametrize("command", ["train", "extract-dataset", "benchmark", "doctor"])
def test_the_help_of_a_command_loads_nothing_that_computes(command: str) -> None:
    code, modules = loaded_by(command, "--help")
    assert code == 0
    assert not modules & (SLOW - {"pydantic"})  # typer itself takes pydantic to read values


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract-dataset", "--git-repo", "repo", "--output", "mined.jsonl"),
        ("create-dataset", "--source", "repo", "--output", "made.jsonl"),
        ("analyze-dataset", "some.jsonl"),
        ("clean-dataset", "some.jsonl", "--output", "clean.jsonl"),
        ("config", "show"),
        ("models", "list"),
        ("adapters", "list"),
        ("plugins",),
        ("train",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_that_do_not_compute_never_load_torch(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    repository = tmp_path / "repo"
    repository.mkdir()
    body = "".join(f"def add_{name}(left, right):\n    total = left + right\n    return total\n\n\n" for name in "abc")
    (repository / "sums.py").write_text(body)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Add"]):
        subprocess.run(["git", "-C", str(repository), *words], check=True)
    line = json.dumps({"context": "def add(left, right):\n", "completion": "    return left + right + 1\n"})
    (tmp_path / "some.jsonl").write_text(line + "\n")
    code, modules = loaded_by(*arguments, cwd=tmp_path)
    assert code in (0, 2, 3)
    assert not modules & HEAVY


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import neuralforge; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("neuralforge")}
    assert ours == {"neuralforge"}


@pytest.mark.parametrize("name", neuralforge.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(neuralforge, name) is not None


@pytest.mark.parametrize(
    ("module", "name"),
    [("neuralforge.training", "LoRATrainer"), ("neuralforge.models", "load_base_model")],
)
def test_the_guides_names_exist(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        neuralforge.nonsense  # noqa: B018


def test_files_stay_readable() -> None:
    """House rule 10: a file is one coherent thing, rarely over 400 lines."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "neuralforge").rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long


def test_every_data_file_is_packed() -> None:
    """What is not matched by ``package-data`` is missing from the wheel, and only from the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["neuralforge"]
    package = ROOT / "neuralforge"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    data = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert data - packed == set()
    assert {path.parent for path in package.rglob("*.py")} == {path.parent for path in package.rglob("__init__.py")}
