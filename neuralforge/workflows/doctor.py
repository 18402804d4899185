"""What this machine can do: software, processor, memory, disk, accelerator, and which number format is fastest."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from neuralforge import paths
from neuralforge.runs.events import Emit, Phase, silent

State = Literal["ok", "note", "problem"]

# Loading and training the default base needs about this much; see benchmarks/RESULTS.md for what was measured.
MEMORY_NEEDED = 2 * 10**9
DISK_NEEDED = 2 * 10**9
EXTRAS = {"hub": "datasets", "tensorboard": "tensorboard", "wandb": "wandb"}
CPU_FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_vnni": "AVX-512 VNNI (8-bit products)",
    "avx512_fp16": "AVX-512 FP16",
    "amx_bf16": "AMX BF16",
    "asimd": "NEON",
    "bf16": "Arm BF16",
}
MEASURE_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``value`` as found, ``hint`` what to do about it when it is not fine."""

    name: str
    state: State
    value: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order in which they were made.

    Attributes:
        findings: what was looked at.
        gflops: measured speed of a matrix product by number format, in 10⁹ operations a second; empty
            when torch is missing or measuring was not asked for.
        fastest: the fastest of them, or None.
    """

    findings: tuple[Finding, ...]
    gflops: dict[str, float]
    fastest: str | None

    @property
    def healthy(self) -> bool:
        """Whether training with the default base can work here."""
        return all(finding.state != "problem" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "healthy": self.healthy,
            "findings": [asdict(finding) for finding in self.findings],
            "gflops": self.gflops,
            "fastest": self.fastest,
        }


def diagnose(*, measure: bool = True, emit: Emit = silent) -> Diagnosis:
    """Look at this machine; changes nothing but a probe file that is gone again when this returns.

    Args:
        measure: time a matrix product in each number format (about a second and a half).
        emit: told of the phases.
    """
    emit(Phase("look", "software and hardware"))
    findings = [_python(), _git(), *_processor(), _memory(), _disk(), _home(), *_extras(), _base_model()]
    gflops: dict[str, float] = {}
    if find_spec("torch") is None:
        findings.append(Finding("torch", "problem", "not installed", "pip install torch"))
    else:
        findings += _torch()
        if measure:
            emit(Phase("measure", "matrix products in each number format"))
            gflops = _measure()
    fastest = max(gflops, key=lambda name: gflops[name]) if gflops else None
    if fastest:
        rest = ", ".join(f"{name} {speed:,.0f} GFLOP/s" for name, speed in gflops.items())
        findings.append(Finding("fastest format", "ok", f"{fastest} ({rest})"))
    return Diagnosis(tuple(findings), gflops, fastest)


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _git() -> Finding:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return Finding("git", "problem", "not found", "Install git; --from-git and extract-dataset need it.")
    return Finding("git", "ok", done.stdout.strip().removeprefix("git version "))


def _processor() -> list[Finding]:
    flags: set[str] = set()
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for row in described.read_text(errors="replace").splitlines():
            key, _, value = row.partition(":")
            if key.strip() in ("flags", "Features"):
                flags.update(value.split())
            elif key.strip() == "model name":
                name = value.strip()
    known = [title for flag, title in CPU_FLAGS.items() if flag in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Finding("processor", "ok", f"{name}, {cores} core{'s' if cores != 1 else ''} usable"),
        Finding("instructions", "ok" if known else "note", ", ".join(known) or "none of those that speed up training"),
    ]


def _memory() -> Finding:
    import psutil

    state = psutil.virtual_memory()
    value = f"{state.available / 1e9:.1f} GB free of {state.total / 1e9:.1f} GB"
    if state.available < MEMORY_NEEDED:
        return Finding("memory", "note", value, "Close programs, or train with --low-memory.")
    return Finding("memory", "ok", value)


def _disk() -> Finding:
    place = _existing(paths.home())
    free = shutil.disk_usage(place).free
    value = f"{free / 1e9:.1f} GB free under {place}"
    if free < DISK_NEEDED:
        return Finding("disk", "note", value, "Free some space, or point NEURALFORGE_HOME at a larger disk.")
    return Finding("disk", "ok", value)


def _home() -> Finding:
    """Whether adapters and runs can be kept; asked of the nearest folder that exists, so none is made."""
    place = _existing(paths.installed_adapters())
    if os.access(place, os.W_OK | os.X_OK):
        return Finding("home", "ok", f"{paths.home()} is writable")
    return Finding("home", "problem", f"{place} is not writable", "Fix its permissions, or set NEURALFORGE_HOME.")


def _existing(place: Path) -> Path:
    return next((folder for folder in (place, *place.parents) if folder.is_dir()), Path("/"))


def _extras() -> list[Finding]:
    found = []
    for extra, package in EXTRAS.items():
        if find_spec(package) is not None:
            found.append(Finding(f"extra {extra}", "ok", f"{package} {metadata.version(package)}"))
        else:
            found.append(Finding(f"extra {extra}", "note", "not installed", f"pip install 'neuralforge[{extra}]'"))
    return found


def _base_model() -> Finding:
    from neuralforge.workflows.models import list_models

    default = next((model for model in list_models() if model.name == "smollm2-135m"), None)
    if default is not None and default.folder is not None:
        return Finding("default base", "ok", "smollm2-135m is in the cache")
    return Finding("default base", "note", "not fetched yet", "`neuralforge models pull smollm2-135m`, or just train.")


def _torch() -> list[Finding]:
    import torch

    found = [Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            found.append(Finding(f"gpu cuda:{index}", "ok", f"{card.name}, {card.total_memory / 1e9:.0f} GB"))
    elif torch.backends.mps.is_available():
        found.append(Finding("gpu", "ok", "Apple Metal (mps)"))
    else:
        found.append(Finding("gpu", "note", "none; training runs on the processor"))
    return found


def _measure() -> dict[str, float]:
    """Time X·W with the shape of the default base's feed-forward layer: 1024 tokens, 576 to 1536."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, inner, outer = 1024, 576, 1536
    speeds: dict[str, float] = {}
    with torch.inference_mode():
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
            left = torch.randn(rows, inner, device=device).to(dtype)
            right = torch.randn(outer, inner, device=device).to(dtype)
            torch.nn.functional.linear(left, right)  # the first call pays for choosing a kernel
            _wait(device)
            began, rounds = time.perf_counter(), 0
            while (elapsed := time.perf_counter() - began) < MEASURE_SECONDS:
                torch.nn.functional.linear(left, right)
                _wait(device)
                rounds += 1
            speeds[name] = round(2 * rows * inner * outer * rounds / elapsed / 1e9, 1)
    return speeds


def _wait(device: str) -> None:
    """A GPU works behind our back; the clock may only be read when it is done."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
