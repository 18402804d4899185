"""Training adapters. The public names load lazily (PEP 562), so that importing the package costs nothing."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralforge.training.schedule import ConstantScheduler, CosineScheduler, LinearScheduler
    from neuralforge.training.trainer import LoRATrainer

__all__ = ["ConstantScheduler", "CosineScheduler", "LinearScheduler", "LoRATrainer"]

_HOMES = {"LoRATrainer": "trainer"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'schedule')}"), name)
