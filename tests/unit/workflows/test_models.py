"""The models verbs on a cache made by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from neuralforge.errors import UserError
from neuralforge.models import cache, hub
from neuralforge.workflows.models import list_models, pull_model, remove_model, show_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hub, "cached", lambda repository, revision=None: None)
    monkeypatch.setattr(hub, "remove", lambda repository: 0)


def put(key: str) -> None:
    def build(folder: Path) -> cache.Origin:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 32, "secret": 1}')
        return cache.Origin("origin", "sha256:" + "2" * 64, "MIT")

    cache.converted(key, build)


def test_list_shows_named_and_converted() -> None:
    before = {entry.name: entry for entry in list_models()}
    assert before["codet5-770m"].location == "Salesforce/codet5p-770m"
    assert all(entry.size is None for entry in before.values())
    put("smollm2-135m")
    put("gguf-own-0123456789ab")
    after = {entry.name: entry for entry in list_models()}
    assert set(after) - set(before) == {"gguf-own-0123456789ab"}
    assert after["smollm2-135m"].size is not None
    assert after["gguf-own-0123456789ab"].architecture == "llama"


def test_show_tells_what_is_known() -> None:
    put("smollm2-135m")
    details = show_model("SmolLM2-135M")
    assert details.digest == "sha256:" + "2" * 64
    assert details.config == {"model_type": "llama", "hidden_size": 32}
    absent = show_model("starcoder2-3b")
    assert absent.digest is None
    assert absent.entry.fim is True
    with pytest.raises(UserError, match="no base model"):
        show_model("nonsense")


def test_pull_of_what_is_here_needs_nothing() -> None:
    put("smollm2-135m")
    assert pull_model("smollm2-135m", offline=True).entry.size


def test_remove_frees_and_then_says_there_is_nothing() -> None:
    put("smollm2-135m")
    assert remove_model("smollm2-135m") > 0
    for name in ("smollm2-135m", "starcoder2-3b", "Not A Key", "digests"):
        with pytest.raises(UserError, match="no base model"):
            remove_model(name)


def test_own_folders_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="yours"):
        remove_model(str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "config.json").exists()


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from neuralforge.workflows.models import list_models; list_models(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
