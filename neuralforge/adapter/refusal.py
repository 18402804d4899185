"""Refusing an adapter: every refusal has one short name that tests, policies and people can rely on."""

from __future__ import annotations

from typing import Literal, get_args

from neuralforge.errors import TrustError

Reason = Literal[
    "unreadable",  # missing, or the operating system does not let us read it
    "not-a-package",  # no zip archive, or cut off
    "too-large",  # the package, a part or a header is larger than its limit
    "absolute-path",
    "path-traversal",
    "special-file",  # a folder, link, device or pipe where a file should be
    "encrypted",
    "compressed",  # parts are stored; nothing is ever inflated
    "duplicate-name",
    "case-collision",
    "unknown-part",
    "missing-part",
    "zip64",
    "overlap",  # two entries share bytes, or an entry points outside the file
    "not-canonical",  # readable perhaps, but not the one byte sequence that pack() writes
    "checksum",
    "malformed-json",
    "malformed-yaml",
    "malformed-text",
    "manifest",
    "adapter-config",
    "tensor-header",
    "tensor-name",
    "tensor-type",
    "tensor-shape",
    "tensor-value",
    "wrong-base",
    "wrong-tensors",
]

REASONS: tuple[str, ...] = get_args(Reason)


class Refused(TrustError):
    """An adapter that is not opened, with the ``reason`` it was refused for."""

    def __init__(self, reason: Reason, message: str, hint: str = "") -> None:
        super().__init__(f"{message} [{reason}]", hint or "Get the adapter again from a source you trust.")
        self.reason = reason


def shown(text: object, limit: int = 80) -> str:
    """Untrusted text for a message: quoted, escaped to plain ASCII, clipped to ``limit`` characters."""
    quoted = ascii(str(text))
    return quoted if len(quoted) <= limit else quoted[: limit - 2] + "…'"
