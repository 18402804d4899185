"""One digest for the weights of a base, so that an adapter can say exactly which network it was trained on."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from neuralforge import files, paths
from neuralforge.errors import DataError, NeuralForgeError


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in ``folder``, as transformers chooses them, in name order.

    That is ``model.safetensors``, else what ``model.safetensors.index.json`` lists; other files lying beside them
    (variants, consolidated copies) are no part of the model. The files listed need not exist.

    Raises:
        DataError: neither is there, or the index is malformed or names a file outside the folder.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise DataError(
            f"{folder} holds no safetensors weights.", "A base model needs model.safetensors or its parts and an index."
        )
    listed = files.read_json(index)
    places = listed.get("weight_map") if isinstance(listed, dict) else None
    names = set(places.values()) if isinstance(places, dict) and places else {None}
    if not all(isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors") for name in names):
        raise DataError(f"{index} does not list plain safetensors files of its folder.", "Fetch the model again.")
    return [folder / str(name) for name in sorted(names, key=str)]


def weights_digest(folder: Path, *, remember: bool = True) -> str:
    """SHA-256 over the names and contents of the model's safetensors files in ``folder``, in name order.

    The digest of each file enters as ``name NUL sha256:… LF``, so neither moving bytes between files nor renaming one
    goes unnoticed. It is remembered under the neuralforge home by path, size and modification time; later calls hash
    nothing (``remember=False``: for a folder that is about to be renamed). Whoever can forge both can also change the
    memory: this detects damage and mix-ups, not an intruder.

    Raises:
        DataError: there is no safetensors file, or one is missing or cannot be read.
    """
    weights = weight_files(folder)
    try:
        stamp = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in weights}
        place = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        memory = paths.models_cache() / "digests" / f"{place}.json"
        known = _remembered(memory, stamp)
        if known is not None:
            return known
        total = hashlib.sha256()
        for path in weights:
            total.update(f"{path.name}\0{files.sha256(path)}\n".encode())
    except OSError as failure:
        raise DataError(
            f"Cannot read the weights in {folder}: {failure}.", "Check the files and their rights."
        ) from failure
    digest = f"sha256:{total.hexdigest()}"
    if remember:
        with contextlib.suppress(NeuralForgeError):  # a read-only home costs time on the next load, nothing else
            files.write_json(memory, {"stamp": stamp, "digest": digest})
    return digest


def _remembered(memory: Path, stamp: dict[str, list[int]]) -> str | None:
    with contextlib.suppress(NeuralForgeError):
        record = files.read_json(memory, 1 << 20)
        if isinstance(record, dict) and record.get("stamp") == stamp and isinstance(record.get("digest"), str):
            return str(record["digest"])
    return None
