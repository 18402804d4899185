"""Base models. ``load_base_model`` and ``BaseModel`` are the public names; they load on first use (PEP 562)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralforge.models.base import BaseModel
    from neuralforge.models.loading import load_base_model

__all__ = ["BaseModel", "load_base_model"]


def __getattr__(name: str) -> Any:
    if name == "load_base_model":
        from neuralforge.models.loading import load_base_model

        return load_base_model
    if name == "BaseModel":
        from neuralforge.models.base import BaseModel

        return BaseModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
