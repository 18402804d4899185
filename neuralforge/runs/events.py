"""What happens during a run, told as small values that a terminal, a log file or a dashboard may show.

The engine never prints. It calls an ``Emit`` with one of the events below; whoever started it decides what
to do with them. All times are seconds, all sizes bytes, all losses nats per token.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Phase:
    """A stage of the work began (``mine``, ``clean``, ``load``, ``plan``, ``train``, ``judge``, ``pack``)."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` units in the present phase (``total`` is None while it is unknown)."""

    done: int
    total: int | None
    unit: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step: loss in nats per supervised token, rate in tokens per second."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens: int
    tokens_per_second: float
    gradient_norm: float
    memory: int
    epoch: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Validation during training: loss in nats per supervised token."""

    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Grown:
    """A layer of the model became wider at ``step``.

    ``parameters_*`` count the whole model; ``dormant`` and ``effective_rank`` are the layer's shares of
    ``models.arbor.utilisation``, ``improvement`` the share by which the loss had fallen since the look before.
    """

    step: int
    layer: int
    width_before: int
    width_after: int
    parameters_before: int
    parameters_after: int
    dormant: float
    effective_rank: float
    improvement: float


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence worth showing; ``level`` is ``info``, ``warning`` or ``debug``."""

    message: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Finished:
    """The run ended; ``outcome`` is ``done``, ``interrupted`` or ``failed``."""

    outcome: str
    summary: dict[str, Any] = field(default_factory=dict)


Event = Phase | Progress | Step | Evaluated | Grown | Note | Finished
Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """An ``Emit`` that shows nothing."""
