"""Bases from the Hugging Face hub: safetensors and text files only, in the hub's own cache, pinned to a commit.

Nothing that could run code is ever downloaded. Where a repository's main branch holds only pickled weights, the
conversion that the hub's own bot proposed for it (a pull request by SFconvertbot on the present main) is taken
instead, as transformers does by default.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralforge import files, paths
from neuralforge.errors import DataError, NeuralForgeError, RemoteError, TrustError
from neuralforge.models.digest import weight_files
from neuralforge.runs.events import Emit, Phase, Progress

WANTED = (
    "*.safetensors",
    "*.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "LICENSE*",
)
# Sub-folders hold other formats; consolidated files repeat the weights under other names.
UNWANTED = ("*/*", "consolidated*", "training_args*", "optimizer*", "adapter_*")
_CONVERTER, _CONVERSION_TITLE = "SFconvertbot", "Adding `safetensors` variant of this model"
_SECONDS_TO_ANSWER = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a hub repository on this machine."""

    folder: Path
    commit: str
    licence: str | None


def snapshot(repository: str, revision: str | None, *, offline: bool, emit: Emit) -> Snapshot:
    """The files of ``repository`` (at ``revision``, else as first fetched), downloaded if they are not here.

    Raises:
        RemoteError: the hub cannot be reached, or does not give the repository.
        TrustError: the repository has no safetensors.
    """
    here = cached(repository, revision)
    if here is not None:
        return here
    if offline:
        raise RemoteError(
            f"{repository} is not on this machine and the network is off.",
            f"Connect once and run `neuralforge models pull {repository}`, or give a local folder.",
        )
    emit(Phase("fetch", repository))
    commit, licence, size = _survey(repository, revision)
    folder = _download(repository, commit, size, emit)
    with contextlib.suppress(NeuralForgeError):  # without the note the next load asks the hub again
        files.write_json(_note(repository, revision), {"commit": commit, "licence": licence})
    return Snapshot(folder, commit, licence)


def cached(repository: str, revision: str | None = None) -> Snapshot | None:
    """A complete copy in the hub's cache, found without the network, or None."""
    from huggingface_hub import snapshot_download

    commit, licence = _noted(repository, revision)
    try:
        found = Path(snapshot_download(repository, revision=commit or revision, local_files_only=True))
        complete = (found / "config.json").is_file() and all(path.is_file() for path in weight_files(found))
    except (OSError, ValueError, DataError):
        return None
    return Snapshot(found, found.name, licence) if complete else None


def remove(repository: str) -> int:
    """Delete every revision of ``repository`` from the hub's cache; returns the bytes freed."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    for note in (paths.models_cache() / "hub").glob(f"{_flat(repository)}@*.json"):
        note.unlink(missing_ok=True)
    try:
        report = scan_cache_dir()
    except CacheNotFound:
        return 0
    commits = [
        found.commit_hash
        for kept in report.repos
        if kept.repo_type == "model" and kept.repo_id == repository
        for found in kept.revisions
    ]
    if not commits:
        return 0
    plan = report.delete_revisions(*commits)
    plan.execute()
    return int(plan.expected_freed_size)


def _flat(repository: str) -> str:
    return repository.replace("/", "--")


def _note(repository: str, revision: str | None) -> Path:
    return paths.models_cache() / "hub" / f"{_flat(repository)}@{_flat(revision or 'main')}.json"


def _noted(repository: str, revision: str | None) -> tuple[str | None, str | None]:
    with contextlib.suppress(NeuralForgeError):
        note = files.read_json(_note(repository, revision), 1 << 16)
        if isinstance(note, dict) and isinstance(note.get("commit"), str):
            return note["commit"], note.get("licence") if isinstance(note.get("licence"), str) else None
    return None, None


def _survey(repository: str, revision: str | None) -> tuple[str, str | None, int]:
    """Commit to download, licence on the model card, bytes of weights."""
    from huggingface_hub import HfApi

    api = HfApi()

    def ask(at: str | None) -> Any:
        return api.model_info(repository, revision=at, files_metadata=True, timeout=_SECONDS_TO_ANSWER)

    try:
        info = ask(revision)
        weights = _weights(info)
        if not weights and revision is None:
            proposed = _conversion(api, repository, info.sha)
            if proposed is not None:
                info = ask(proposed)
                weights = _weights(info)
    except Exception as failure:
        raise _unreachable(repository, failure) from failure
    if not weights:
        raise TrustError(
            f"{repository} offers no safetensors, only formats that can run code when opened.",
            "Choose another base, or convert it on a machine you can afford to lose and give the folder.",
        )
    card = info.card_data.to_dict() if info.card_data else {}
    licence = card.get("license")
    return info.sha, licence if isinstance(licence, str) else None, sum(weights)


def _weights(info: Any) -> list[int]:
    return [
        found.size or 0
        for found in info.siblings or []
        if found.rfilename.endswith(".safetensors") and "/" not in found.rfilename
    ]


def _conversion(api: Any, repository: str, main: str) -> str | None:
    """The open conversion by the hub's bot whose parent is the present ``main``, or None."""
    for proposal in api.get_repo_discussions(repo_id=repository, author=_CONVERTER):
        if proposal.is_pull_request and proposal.status == "open" and proposal.title == _CONVERSION_TITLE:
            commits = api.list_repo_commits(repository, revision=proposal.git_reference)
            if proposal.author == _CONVERTER and len(commits) > 1 and commits[1].commit_id == main:
                return str(commits[0].commit_id)
    return None


def _download(repository: str, commit: str, size: int, emit: Emit) -> Path:
    from huggingface_hub import constants, snapshot_download, utils

    utils.disable_progress_bars()  # type: ignore[attr-defined]
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{_flat(repository)}" / "blobs"

    def fetch() -> str:
        return str(
            snapshot_download(repository, revision=commit, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED))
        )

    try:
        return Path(_watched(fetch, lambda: emit(Progress(min(_arrived(blobs), size), size, "bytes"))))
    except Exception as failure:
        raise _unreachable(repository, failure) from failure


def _watched(work: Callable[[], str], tell: Callable[[], None]) -> str:
    """Run ``work`` in a thread and call ``tell`` from this one while it lasts, so that events have one source."""
    result: list[str] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        tell()
        thread.join(0.3)
    if failures:
        raise failures[0]
    return result[0]


def _arrived(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # files are renamed while we look
        for path in folder.iterdir():
            total += path.stat().st_size
    return total


def _unreachable(repository: str, failure: Exception) -> RemoteError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(failure, GatedRepoError):
        return RemoteError(
            f"{repository} is gated: its owner must let you in.",
            "Accept its terms on the hub, then log in with `hf auth login`.",
        )
    if isinstance(failure, RepositoryNotFoundError | RevisionNotFoundError):
        return RemoteError(
            f"The hub has no such repository or revision: {repository}.",
            "Check the spelling; it is not a folder here either. Private ones need `hf auth login`.",
        )
    reason = (str(failure).strip() or type(failure).__name__).splitlines()[0][:200]
    return RemoteError(
        f"{repository} could not be fetched from the hub: {reason}",
        "Check the connection and try again; a folder with the model's files works without one.",
    )
