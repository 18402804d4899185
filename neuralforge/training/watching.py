"""What ``--track-gradients`` and ``--profile-memory`` record, one JSON line at a time, beside the event log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import psutil
import torch
from torch import nn

from neuralforge import files
from neuralforge.runs.events import Event, Phase, Step


class GradientLog:
    """Gradient norm of every adapted module at every step, before clipping: ``{"step", "norms": {module: norm}}``.

    Args:
        path: the file to add to.
        after: the step a resumed run goes on from; later lines are done again and dropped.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path = path
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= after]
            files.write_text(path, "".join(kept))

    def __call__(self, step: int, named: Mapping[str, nn.Parameter]) -> None:
        """Write one line."""
        squares: dict[str, float] = {}
        for name, parameter in named.items():
            if parameter.grad is not None:
                module = name.split(".lora_")[0]
                squares[module] = squares.get(module, 0.0) + float(parameter.grad.square().sum())
        norms = {module: round(square**0.5, 8) for module, square in squares.items()}
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "norms": norms}) + "\n")


class MemoryLog:
    """An ``Emit`` that writes the process's resident bytes at every phase and at every tenth step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.phase = ""

    def __call__(self, event: Event) -> None:
        """Write a line where the event calls for one."""
        match event:
            case Phase():
                self.phase = event.name
                self._write({"phase": event.name})
            case Step() if event.step % 10 == 1:
                self._write({"phase": self.phase, "step": event.step})

    def modules(self, model: nn.Module) -> None:
        """Write what the weights take by kind of module."""
        sizes: dict[str, int] = {}
        for name, parameter in model.named_parameters():
            kind = "adapter" if "lora_" in name else name.split(".weight")[0].rpartition(".")[2]
            sizes[kind] = sizes.get(kind, 0) + parameter.numel() * parameter.element_size()
        self._write({"phase": self.phase, "weights": dict(sorted(sizes.items()))})

    def _write(self, content: dict[str, object]) -> None:
        graphics = {"cuda": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({**content, "resident": psutil.Process().memory_info().rss, **graphics}) + "\n")
