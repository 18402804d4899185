"""The hub without a network: a fake API and a hub cache made by hand."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from neuralforge.errors import RemoteError, TrustError
from neuralforge.models import hub
from neuralforge.runs.events import silent

COMMIT = "a" * 40


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    cache = tmp_path / "hub"
    cache.mkdir()
    for name, module in list(sys.modules.items()):
        if name.startswith("huggingface_hub") and hasattr(module, "HF_HUB_CACHE"):
            monkeypatch.setattr(module, "HF_HUB_CACHE", str(cache))
    assert str(cache) == constants.HF_HUB_CACHE
    return cache


def put(cache: Path, repository: str, *names: str) -> None:
    root = cache / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for name in names:
        (folder / name).write_bytes(b"{}")


def model(*names: str, sha: str = COMMIT) -> SimpleNamespace:
    files = [SimpleNamespace(rfilename=name, size=2) for name in names]
    return SimpleNamespace(siblings=files, sha=sha, card_data=SimpleNamespace(to_dict=lambda: {"license": "mit"}))


class FakeApi:
    revisions: dict[str | None, Any]
    proposals: list[Any]
    parents: dict[str, list[str]]

    def model_info(self, repository: str, revision: str | None = None, **_: Any) -> Any:
        found = self.revisions[revision]
        if isinstance(found, Exception):
            raise found
        return found

    def get_repo_discussions(self, repo_id: str, author: str) -> list[Any]:
        return [proposal for proposal in self.proposals if proposal.author == author]

    def list_repo_commits(self, repository: str, revision: str) -> list[Any]:
        return [SimpleNamespace(commit_id=commit) for commit in self.parents[revision]]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[FakeApi]:
    fake = type("Api", (FakeApi,), {"revisions": {}, "proposals": [], "parents": {}})
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    return fake


def test_a_complete_copy_needs_no_network(places: Path) -> None:
    put(places, "own/model", "config.json", "model.safetensors")
    found = hub.snapshot("own/model", None, offline=True, emit=silent)
    assert found.commit == COMMIT
    assert (found.folder / "config.json").is_file()


def test_an_incomplete_copy_does_not_count(places: Path) -> None:
    put(places, "own/model", "config.json")
    assert hub.cached("own/model") is None
    with pytest.raises(RemoteError, match="network is off"):
        hub.snapshot("own/model", None, offline=True, emit=silent)


def test_a_hub_that_does_not_answer_is_a_remote_error(api: type[FakeApi]) -> None:
    api.revisions = {None: ConnectionError("name not known")}
    with pytest.raises(RemoteError, match="name not known"):
        hub.snapshot("own/model", None, offline=False, emit=silent)


def test_pickle_only_is_refused(api: type[FakeApi]) -> None:
    api.revisions = {None: model("pytorch_model.bin", "onnx/model.safetensors")}
    with pytest.raises(TrustError, match="no safetensors"):
        hub.snapshot("own/model", None, offline=False, emit=silent)


@pytest.mark.parametrize(
    ("author", "parent", "taken"),
    [("SFconvertbot", COMMIT, True), ("SFconvertbot", "old", False), ("eve", COMMIT, False)],
)
def test_only_the_bots_conversion_of_the_present_main_is_taken(
    author: str, parent: str, taken: bool, api: type[FakeApi], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = SimpleNamespace(
        author=author,
        title="Adding `safetensors` variant of this model",
        status="open",
        is_pull_request=True,
        git_reference="refs/pr/1",
    )
    api.revisions = {None: model("pytorch_model.bin"), "b" * 40: model("model.safetensors", sha="b" * 40)}
    api.proposals = [proposal]
    api.parents = {"refs/pr/1": ["b" * 40, parent]}
    asked = []
    real = huggingface_hub.snapshot_download

    def download(repository: str, revision: str | None = None, **options: Any) -> str:
        if options.get("local_files_only"):
            return real(repository, revision=revision, **options)
        asked.append(revision)
        assert not any("bin" in pattern for pattern in options["allow_patterns"])
        return str(places)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    if not taken:
        with pytest.raises(TrustError):
            hub.snapshot("own/model", None, offline=False, emit=silent)
        return
    found = hub.snapshot("own/model", None, offline=False, emit=silent)
    assert asked == ["b" * 40] == [found.commit]
    assert found.licence == "mit"


def test_remove_frees_the_cache(places: Path) -> None:
    put(places, "own/model", "config.json", "model.safetensors")
    hub.remove("own/model")
    assert hub.cached("own/model") is None
    assert hub.remove("own/other") == 0
