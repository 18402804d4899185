"""Whether an adapter belongs to a base."""

from __future__ import annotations

from neuralforge.adapter.manifest import Manifest
from neuralforge.adapter.refusal import Refused, shown


def check_fits(manifest: Manifest, base_identity: str, base_digest: str) -> None:
    """Refuse an adapter that was not made for this base.

    Its tensors have been held against its own settings when it was opened; that each finds its place in the base is
    checked as it is attached (see ``training.attach``).

    Args:
        base_identity: ``BaseModel.identity``, for the message.
        base_digest: ``BaseModel.digest``; this is what decides.

    Raises:
        Refused: ``wrong-base``.
    """
    if manifest.base.digest != base_digest:
        raise Refused(
            "wrong-base",
            f"The adapter {manifest.name} {manifest.version} was made for {shown(manifest.base.identity)} "
            f"({manifest.base.digest[:19]}…), not for {shown(base_identity)} ({base_digest[:19]}…).",
            "Load the base it was made for, or train an adapter for this one.",
        )
