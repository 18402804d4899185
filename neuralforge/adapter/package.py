"""``name.lora``: an adapter as one file. Pack and unpack are inverse, byte for byte, on anything they accept.

    metadata.json               the manifest: everything below with its SHA-256 (adapter/manifest.py)
    adapter_config.json         PEFT's settings, canonical (adapter/peft_config.py)
    adapter_model.safetensors   the weights (adapter/tensors.py)
    README.md                   the model card (adapter/card.py)
    training.yaml               everything needed to repeat the training
    tokenizer.json              only when tokens were added

The unpacked folder is loadable by PEFT as it is. There is no pickle in it anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO

from neuralforge.adapter.archive import LIMIT, Entry, copy_entry, read_index, write_archive
from neuralforge.adapter.card import render_card
from neuralforge.adapter.manifest import MANIFEST_LIMIT, Manifest, PartInfo
from neuralforge.adapter.peft_config import CONFIG_LIMIT, PeftConfig, check_agreement
from neuralforge.adapter.refusal import Refused, shown
from neuralforge.adapter.strict_text import check_yaml, decode, parse_json
from neuralforge.adapter.tensors import LoraModule, check_finite, lora_modules, read_header
from neuralforge.errors import NeuralForgeError, RunError, UserError
from neuralforge.files import atomic_writer, sha256, sync_folder, write_bytes

MANIFEST = "metadata.json"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
RECIPE = "training.yaml"
TOKENIZER = "tokenizer.json"

LIMITS = {
    MANIFEST: MANIFEST_LIMIT,
    CONFIG: CONFIG_LIMIT,
    WEIGHTS: LIMIT,
    CARD: 256 << 10,
    RECIPE: 256 << 10,
    TOKENIZER: 64 << 20,
}
REQUIRED = frozenset(LIMITS) - {TOKENIZER}


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter folder that passed every check.

    Attributes:
        folder: where it lies.
        manifest: its ``metadata.json``.
        config: its PEFT settings.
        modules: its LoRA tensors by module, as the weight file's header states them.
    """

    folder: Path
    manifest: Manifest
    config: PeftConfig
    modules: dict[str, LoraModule]

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Make a package's folder out of what ``save_pretrained`` left there and a ``training.yaml``.

    Rewrites ``adapter_config.json`` canonically (PEFT writes a set in hash order, and the path of the base on this
    machine), writes the model card and then ``metadata.json``.

    Returns:
        The manifest with the digests of all files, as written.

    Raises:
        Refused: the manifest or a file is not valid; ``metadata.json`` is then not written.
    """
    raw = parse_json(_content(folder, CONFIG), CONFIG)
    if isinstance(raw, dict):
        raw["base_model_name_or_path"] = None
        if isinstance(raw.get("target_modules"), list):
            raw["target_modules"] = sorted(map(str, raw["target_modules"]))
    config = PeftConfig.from_json(raw)
    with contextlib.suppress(Refused):  # an identity that is no plain name stays out of PEFT's sight
        named = replace(config, base=manifest.base.identity)
        config = PeftConfig.from_bytes(named.to_bytes())
    write_bytes(folder / CONFIG, config.to_bytes())
    write_bytes(folder / CARD, render_card(manifest).encode())
    names = set(_listed(folder)) | {MANIFEST}
    sealed = Manifest.from_bytes(manifest.with_files(_measured(folder, names)).to_bytes())
    _check_content(folder, names, sealed)
    write_bytes(folder / MANIFEST, sealed.to_bytes())
    return sealed


def inspect(folder: Path) -> Adapter:
    """Check an unpacked adapter: its files, their digests, settings, weights and that all of them agree.

    Raises:
        Refused: with the first kind of thing found wrong.
    """
    names = _listed(folder)
    manifest = Manifest.from_bytes(_content(folder, MANIFEST), source=str(folder / MANIFEST))
    _check_listing(manifest, names)
    for name, part in _measured(folder, names).items():
        if part != manifest.files[name]:
            raise Refused("checksum", f"{folder / name} is not the file that metadata.json describes.")
    config, modules = _check_content(folder, set(names), manifest)
    return Adapter(folder, manifest, config, modules)


def pack(folder: Path, target: Path) -> str:
    """Pack a sealed folder. The same files give the same bytes, on every machine.

    Returns:
        Digest of the package, ``sha256:<hex>``.

    Raises:
        Refused: the folder is not a valid adapter.
        RunError: ``target`` cannot be written; what was there before is untouched.
    """
    adapter = inspect(folder)
    parts: dict[str, Path | bytes] = {name: folder / name for name in adapter.manifest.files}
    parts[MANIFEST] = adapter.manifest.to_bytes()
    digest = hashlib.sha256()
    with atomic_writer(target) as handle:
        write_archive(_Tee(handle, digest), parts)
    return f"sha256:{digest.hexdigest()}"


def unpack(package: Path, into: Path) -> Manifest:
    """Unpack into a new folder, which appears only when everything in the package has been checked.

    Args:
        package: the ``.lora`` file.
        into: must not exist yet, or be an empty folder.

    Raises:
        Refused: with one named reason; nothing was written.
        UserError: there is something at ``into``.
        RunError: the disk is full or the folder cannot be written.
    """
    into = Path(into)
    if os.path.lexists(into) and not (into.is_dir() and not into.is_symlink() and not any(into.iterdir())):
        raise UserError(f"{into} is there already.", "Choose a new folder to unpack into.")
    temporary = ""
    try:
        with _opened_package(package) as (handle, index):
            manifest = _manifest_in(handle, index)
            into.parent.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}.")
            for name, entry in index.items():
                with (Path(temporary) / name).open("xb") as out:
                    copy_entry(handle, entry, out.write)
                    out.flush()
                    os.fsync(out.fileno())
        inspect(Path(temporary))
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o777 & ~umask)
        Path(temporary).rename(into)
        temporary = ""
        sync_folder(into.parent)
    except OSError as failure:
        raise RunError(
            f"Cannot unpack into {into}: {failure.strerror or failure}.", "Check free space and permissions there."
        ) from failure
    except Refused as refusal:
        raise _about(package, refusal) from refusal
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest of a package or folder, without unpacking.

    The package's whole structure and the manifest's own checksum are verified; of the other files their names and
    sizes. Use :func:`opened` before anything is computed with an adapter.
    """
    try:
        if path.is_dir():
            names = _listed(path)
            manifest = Manifest.from_bytes(_content(path, MANIFEST))
            _check_listing(manifest, names)
            return manifest
        with _opened_package(path) as (handle, index):
            return _manifest_in(handle, index)
    except Refused as refusal:
        raise _about(path, refusal) from refusal


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """A checked folder for a package or for a folder; a package's folder is gone when the block ends."""
    if path.is_dir():
        try:
            inspect(path)
        except Refused as refusal:
            raise _about(path, refusal) from refusal
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="neuralforge-") as temporary:
        folder = Path(temporary) / "adapter"
        unpack(path, folder)
        yield folder


class _Tee:
    """Just enough of a binary file for ``write_archive``: writes, and digests what it writes."""

    def __init__(self, handle: IO[bytes], digest: hashlib._Hash) -> None:
        self._handle, self._digest = handle, digest

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        return self._handle.write(content)


@contextlib.contextmanager
def _opened_package(path: Path) -> Iterator[tuple[BinaryIO, dict[str, Entry]]]:
    try:
        # Not blocking: a named pipe in place of a package must not hang whoever looks at it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as failure:
        raise Refused(
            "unreadable", f"It cannot be read: {failure.strerror or failure}.", "Check the path."
        ) from failure
    with os.fdopen(descriptor, "rb") as handle:
        status = os.fstat(handle.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused("special-file", "It is not a plain file.")
        index = read_index(handle, status.st_size, LIMITS)
        missing = sorted(REQUIRED - set(index))
        if missing:
            raise Refused("missing-part", f"It has no {missing[0]}.")
        yield handle, index


def _manifest_in(handle: BinaryIO, index: dict[str, Entry]) -> Manifest:
    pieces: list[bytes] = []
    copy_entry(handle, index[MANIFEST], pieces.append)
    content = b"".join(pieces)
    manifest = Manifest.from_bytes(content)
    if content != manifest.to_bytes():
        raise Refused("not-canonical", "metadata.json is not in the one form that packages use.")
    _check_listing(manifest, list(index))
    for name, part in manifest.files.items():
        if index[name].size != part.size:
            raise Refused("checksum", f"{name} has {index[name].size:,} bytes, not the {part.size:,} stated.")
    return manifest


def _check_listing(manifest: Manifest, names: list[str]) -> None:
    """Every file is listed in the manifest and every listed file is there."""
    missing = sorted(set(manifest.files) - set(names))
    unlisted = sorted(set(names) - set(manifest.files) - {MANIFEST})
    if missing:
        raise Refused("missing-part", f"metadata.json lists {shown(missing[0])}, which is not there.")
    if unlisted:
        raise Refused("unknown-part", f"metadata.json does not list {unlisted[0]}.")


def _listed(folder: Path) -> list[str]:
    """Names in an adapter's folder, all of them known, plain files and within their limits."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            if entry.name not in LIMITS:
                raise Refused("unknown-part", f"{folder} holds {shown(entry.name)}, which is not a part of an adapter.")
            if not entry.is_file(follow_symlinks=False):
                raise Refused("special-file", f"{entry.name} in {folder} is not a plain file.")
            size = entry.stat(follow_symlinks=False).st_size
            if size > LIMITS[entry.name]:
                raise Refused(
                    "too-large", f"{entry.name} has {size:,} bytes; at most {LIMITS[entry.name]:,} are allowed."
                )
    except OSError as failure:
        raise Refused("unreadable", f"{folder} cannot be read: {failure.strerror or failure}.") from failure
    return [entry.name for entry in entries]


def _content(folder: Path, name: str) -> bytes:
    """A small part, read with its limit in force even if the file grows meanwhile."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise Refused(
            "missing-part",
            f"{folder} has no {name}, so it is not an adapter.",
            "Give a .lora file, or the folder that one was unpacked to.",
        )
    try:
        with path.open("rb") as handle:
            content = handle.read(LIMITS[name] + 1)
    except OSError as failure:
        raise Refused("unreadable", f"{path} cannot be read: {failure.strerror or failure}.") from failure
    if len(content) > LIMITS[name]:
        raise Refused("too-large", f"{path} has more than {LIMITS[name]:,} bytes.")
    return content


def _measured(folder: Path, names: set[str] | list[str]) -> dict[str, PartInfo]:
    return {
        name: PartInfo(sha256(folder / name), (folder / name).stat().st_size)
        for name in sorted(names)
        if name != MANIFEST
    }


def _check_content(folder: Path, names: set[str], manifest: Manifest) -> tuple[PeftConfig, dict[str, LoraModule]]:
    missing = sorted(REQUIRED - names)
    if missing:
        raise Refused("missing-part", f"{folder} has no {missing[0]}.")
    decode(_content(folder, CARD), CARD)
    check_yaml(_content(folder, RECIPE), RECIPE)
    if TOKENIZER in names and not isinstance(parse_json(_content(folder, TOKENIZER), TOKENIZER), dict):
        raise Refused("malformed-json", f"{TOKENIZER} is not a JSON object.")
    config = PeftConfig.from_bytes(_content(folder, CONFIG))
    tensors = read_header(folder / WEIGHTS)
    modules = lora_modules(tensors, manifest.lora.rank, manifest.lora.use_dora)
    check_agreement(config, manifest.lora, modules)
    check_finite(folder / WEIGHTS, tensors)
    return config, modules


def _about(path: Path, refusal: Refused) -> NeuralForgeError:
    """The same refusal, saying which adapter it is about."""
    text = refusal.message.removesuffix(f" [{refusal.reason}]")
    return Refused(refusal.reason, f"The adapter {path} is refused. {text}", refusal.hint)
