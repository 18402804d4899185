"""Fixtures: a redirected home, sealed adapters, a package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuralforge.adapter.package import pack, seal

from .samples import a_manifest, write_raw


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_adapter(tmp_path: Path) -> Callable[..., Path]:
    """Make a sealed folder; ``seed`` chooses the weights, the rest changes the manifest."""
    made = 0

    def make(seed: int = 0, **changes: Any) -> Path:
        nonlocal made
        made += 1
        folder = write_raw(tmp_path / f"made-{made}", seed)
        seal(folder, a_manifest(**changes))
        return folder

    return make


@pytest.fixture
def package(make_adapter: Callable[..., Path], tmp_path: Path) -> Path:
    target = tmp_path / "click-style.lora"
    pack(make_adapter(), target)
    return target
