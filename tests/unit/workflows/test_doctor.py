import shutil
from pathlib import Path

import pytest

from neuralforge.workflows import doctor


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def finding(diagnosis: doctor.Diagnosis, name: str) -> doctor.Finding:
    return next(item for item in diagnosis.findings if item.name == name)


def test_looks_without_leaving_anything(home: Path) -> None:
    diagnosis = doctor.diagnose(measure=False)
    assert not home.exists()
    assert diagnosis.healthy
    assert diagnosis.fastest is None
    assert finding(diagnosis, "default base").state == "note"
    assert {"python", "git", "processor", "instructions", "memory", "disk", "home", "torch"} <= {
        item.name for item in diagnosis.findings
    }
    assert diagnosis.to_json()["healthy"] is True


def test_every_note_that_can_be_acted_on_says_how() -> None:
    for item in doctor.diagnose(measure=False).findings:
        assert item.state != "problem" or item.hint


def test_a_missing_git_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    diagnosis = doctor.diagnose(measure=False)
    assert not diagnosis.healthy
    assert finding(diagnosis, "git").state == "problem"


def test_little_memory_and_disk_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEMORY_NEEDED", 10**18)
    monkeypatch.setattr(doctor, "DISK_NEEDED", 10**18)
    diagnosis = doctor.diagnose(measure=False)
    assert "--low-memory" in finding(diagnosis, "memory").hint
    assert "NEURALFORGE_HOME" in finding(diagnosis, "disk").hint
    assert diagnosis.healthy


def test_measures_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEASURE_SECONDS", 0.01)
    diagnosis = doctor.diagnose()
    assert set(diagnosis.gflops) == {"fp32", "bf16", "fp16"}
    assert all(speed > 0 for speed in diagnosis.gflops.values())
    assert diagnosis.fastest == max(diagnosis.gflops, key=lambda name: diagnosis.gflops[name])


def test_without_torch_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "torch" else found(name))
    diagnosis = doctor.diagnose()
    assert not diagnosis.healthy
    assert finding(diagnosis, "torch").state == "problem"
