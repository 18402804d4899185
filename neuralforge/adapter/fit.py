"""Whether an adapter belongs to a base model. PEFT loads a stranger's adapter without a word; this does not."""

from __future__ import annotations

from collections.abc import Mapping

from neuralforge.adapter.package import Adapter
from neuralforge.adapter.refusal import Refused, shown


def check_fits(
    adapter: Adapter,
    base_identity: str,
    base_digest: str,
    base_modules: Mapping[str, tuple[int, int]] | None = None,
    rank: int | None = None,
) -> None:
    """Refuse an adapter that was not made for this base.

    Args:
        adapter: from ``package.inspect``, so that manifest, settings and tensors already agree with each other.
        base_identity: ``BaseModel.identity``, for the message.
        base_digest: ``BaseModel.digest``; this is what decides.
        base_modules: (outputs, inputs) of the base's linear modules by name; when given, every tensor must fit one.
        rank: when given, the rank that the adapter must have, as for continuing a training.

    Raises:
        Refused: ``wrong-base``, ``wrong-rank`` or ``wrong-tensors``.
    """
    manifest = adapter.manifest
    if manifest.base.digest != base_digest:
        raise Refused(
            "wrong-base",
            f"The adapter {manifest.name} {manifest.version} was made for {shown(manifest.base.identity)} "
            f"({manifest.base.digest[:19]}…), not for {shown(base_identity)} ({base_digest[:19]}…).",
            f"Load it on its own base with `--base {manifest.base.name}`, or train an adapter for this one.",
        )
    if rank is not None and manifest.lora.rank != rank:
        raise Refused(
            "wrong-rank",
            f"The adapter {manifest.name} {manifest.version} has rank {manifest.lora.rank}, not {rank}.",
            f"Use `--rank {manifest.lora.rank}`, or start without this adapter.",
        )
    if base_modules is None:
        return
    for name, module in adapter.modules.items():
        shape = base_modules.get(name)
        if shape is None:
            raise Refused(
                "wrong-tensors",
                f"The adapter {manifest.name} adapts {name}, which {shown(base_identity)} does not have.",
                "The package states a base it does not fit; get it again or train it anew.",
            )
        if shape != (module.outputs, module.inputs):
            raise Refused(
                "wrong-tensors",
                f"The adapter {manifest.name} has a {module.outputs}×{module.inputs} update for {name}, "
                f"which is {shape[0]}×{shape[1]} in {shown(base_identity)}.",
                "The package states a base it does not fit; get it again or train it anew.",
            )
