"""Load a base by its name, whatever its source."""

from __future__ import annotations

from neuralforge import paths
from neuralforge.models import places
from neuralforge.models.base import BaseModel
from neuralforge.models.catalogue import DEFAULT, choose_provider, find_alias, location_of
from neuralforge.models.providers.base import BaseFiles
from neuralforge.runs.events import Emit, Phase, silent


def load_base_model(
    name: str = DEFAULT,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    offline: bool = False,
    emit: Emit = silent,
) -> BaseModel:
    """Load a base into memory, fetching it first if it is not on this machine yet.

    Args:
        name: a short name (``neuralforge models list``), a hub id ``owner/name`` or ``owner/name@revision``, a folder
            with config.json and safetensors, or a .gguf file.
        dtype: ``fp32``, ``bf16``, ``fp16``; None for the fastest that the device really has.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        offline: never use the network.
        emit: told of phases, progress and skipped plugins.

    Raises:
        UserError: unknown name, device, format or architecture.
        RemoteError: it is not here and cannot be fetched.
        TrustError: what was fetched is not what was expected, or not safe to read.
        DataError: its files are damaged or incomplete.
    """
    location = location_of(name)
    provider = choose_provider(location, emit=emit)
    emit(Phase("load", name))
    base = provider.load(location, dtype=dtype, device=device, offline=offline, emit=emit)
    alias = find_alias(name)
    base.name = name
    if alias is None and (place := paths.expanded(location)).exists():
        base.name = base.identity
        places.remember(base.digest, place.resolve())
    if alias is not None:
        base.licence = base.licence or alias.licence
        if not alias.fim:  # the tokens may be there without the model ever having seen them (Qwen2.5)
            base.fim = None
    return base


def fetch_base_model(name: str, *, offline: bool = False, emit: Emit = silent) -> BaseFiles:
    """Bring a base onto this machine without loading it; errors as in :func:`load_base_model`."""
    location = location_of(name)
    return choose_provider(location, emit=emit).fetch(location, offline=offline, emit=emit)
