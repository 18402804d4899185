"""``adapter_config.json``: PEFT's own settings file, let through only where it can do nothing but LoRA.

PEFT (0.21) acts on what stands there when it loads an adapter: it imports classes (``auto_mapping``,
``megatron_core``), compiles names to regular expressions, replaces weights of the base (PiSSA, OLoRA, CorDA, LoftQ
initialisation), copies layers (``layer_replication``) and opens ``base_model_name_or_path``. None of that belongs to
a LoRA adapter of linear modules, so every key is either one that is understood here, or it must be switched off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neuralforge.adapter.manifest import LoraInfo
from neuralforge.adapter.refusal import Refused, shown
from neuralforge.adapter.schema import Fields, suggestion
from neuralforge.adapter.strict_text import parse_json
from neuralforge.adapter.tensors import LoraModule

CONFIG_LIMIT = 1 << 20
TASKS = ("CAUSAL_LM", "SEQ_2_SEQ_LM")

_MODULE = r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*"
# A hub id or a plain name: no absolute path, no drive, no "..", no URL, nothing hidden.
_BASE = r"[A-Za-z0-9][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+){0,8}"
_OFF: tuple[Any, ...] = (None, False, [], {})
# Not switched off by a null or false: the values PEFT writes for features that are not in use.
_IDLE = {"megatron_core": "megatron.core", "qalora_group_size": 16, "ensure_weight_tying": False}


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """What an ``adapter_config.json`` says, as far as a LoRA adapter of linear modules can say anything."""

    lora: LoraInfo
    task: str | None
    base: str | None
    layers_pattern: str | None
    fan_in_fan_out: bool

    @classmethod
    def from_bytes(cls, content: bytes, source: str = "adapter_config.json") -> PeftConfig:
        """Parse and check the content of the file."""
        if len(content) > CONFIG_LIMIT:
            raise Refused("too-large", f"{source} has {len(content):,} bytes; at most {CONFIG_LIMIT:,} are allowed.")
        return cls.from_json(parse_json(content, source), source)

    @classmethod
    def from_json(cls, raw: Any, source: str = "adapter_config.json") -> PeftConfig:
        """Check parsed settings.

        Raises:
            Refused: with everything that is wrong.
        """
        if not isinstance(raw, dict):
            raise Refused("adapter-config", f"{source} is not a JSON object.")
        errors: list[str] = []
        fields = Fields(raw, "", errors)
        if fields.text("peft_type") != "LORA":
            errors.append("peft_type must be 'LORA'")
        task = fields.optional_text("task_type")
        if task not in (None, *TASKS):
            errors.append(f"task_type must be one of {', '.join(TASKS)} or null")
        if fields.has("init_lora_weights") and raw["init_lora_weights"] is not True:
            errors.append("init_lora_weights must be true: other ways of starting change the base's weights")
        if fields.has("bias") and raw["bias"] != "none":
            errors.append("bias must be 'none'")
        for key in ("inference_mode", "fan_in_fan_out", "use_rslora", "use_dora"):
            if fields.has(key):
                fields.boolean(key)
        fields.optional_text("peft_version", r"[0-9A-Za-z.+-]{1,40}")
        config = cls(
            lora=LoraInfo(
                rank=fields.integer("r", 1, 4096),
                alpha=fields.number("lora_alpha", 0, 1e6),
                dropout=fields.number("lora_dropout", 0, 1) if fields.has("lora_dropout") else 0.0,
                target_modules=tuple(sorted(fields.texts("target_modules", _MODULE))),
                layers=tuple(sorted(fields.integers("layers_to_transform", 0, 10_000)))
                if fields.has("layers_to_transform")
                else None,
                use_rslora=raw.get("use_rslora") is True,
                use_dora=raw.get("use_dora") is True,
            ),
            task=task,
            base=fields.optional_text("base_model_name_or_path", _BASE, "Qwen/Qwen2.5-Coder-0.5B"),
            layers_pattern=fields.optional_text("layers_pattern", _MODULE, "layers"),
            fan_in_fan_out=raw.get("fan_in_fan_out") is True,
        )
        for key, value in fields.untaken().items():
            if not any(value is off or (type(value) is type(off) and value == off) for off in _OFF) and (
                key not in _IDLE or value != _IDLE[key]
            ):
                errors.append(f"{shown(key, 60)} must not be set{suggestion(key, _KNOWN)}")
        if errors:
            raise Refused("adapter-config", f"{source} is not that of a plain LoRA adapter: {'; '.join(errors[:12])}.")
        return config

    def to_bytes(self) -> bytes:
        """The file as ``package.seal`` writes it: PEFT reads it, and equal settings give equal bytes."""
        settings = {
            "peft_type": "LORA",
            "task_type": self.task,
            "base_model_name_or_path": self.base,
            "r": self.lora.rank,
            "lora_alpha": int(self.lora.alpha) if self.lora.alpha.is_integer() else self.lora.alpha,
            "lora_dropout": self.lora.dropout,
            "target_modules": sorted(self.lora.target_modules),
            "layers_to_transform": None if self.lora.layers is None else list(self.lora.layers),
            "layers_pattern": self.layers_pattern,
            "use_rslora": self.lora.use_rslora,
            "use_dora": self.lora.use_dora,
            "fan_in_fan_out": self.fan_in_fan_out,
            "bias": "none",
            "init_lora_weights": True,
            "inference_mode": True,
        }
        return (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()


def check_agreement(config: PeftConfig, stated: LoraInfo, modules: Mapping[str, LoraModule]) -> None:
    """Check that manifest, settings and tensors speak of one adapter.

    Raises:
        Refused: they do not; every difference is named.
    """
    found = config.lora
    pairs = [
        ("rank", stated.rank, found.rank),
        ("alpha", stated.alpha, found.alpha),
        ("dropout", stated.dropout, found.dropout),
        ("target_modules", sorted(stated.target_modules), sorted(found.target_modules)),
        ("use_rslora", stated.use_rslora, found.use_rslora),
        ("use_dora", stated.use_dora, found.use_dora),
    ]
    if found.layers is not None:
        pairs.append(("layers", sorted(stated.layers or ()), sorted(found.layers)))
    errors = [
        f"{name} is {shown(ours)} in metadata.json and {shown(theirs)} in adapter_config.json"
        for name, ours, theirs in pairs
        if ours != theirs
    ]
    errors += _coverage(found.target_modules, stated.layers, modules)
    if errors:
        raise Refused("adapter-config", f"The adapter contradicts itself: {'; '.join(errors[:6])}.")


def _coverage(targets: Iterable[str], layers: tuple[int, ...] | None, modules: Iterable[str]) -> list[str]:
    """Differences between the modules that have tensors and those that the settings name."""
    wanted, errors, hit, seen = set(targets), [], set[str](), set[int]()
    for module in modules:
        parts = module.split(".")
        # PEFT adapts a module whose name is a target or ends in one.
        owners = wanted.intersection(".".join(parts[start:]) for start in range(len(parts)))
        hit |= owners
        if not owners:
            errors.append(f"there are tensors for {shown(module)}, which is no target")
        numbers = [int(part) for part in parts if part.isdigit() and len(part) < 6]
        if layers is not None and numbers:
            seen.add(numbers[0])
            if numbers[0] not in layers:
                errors.append(f"there are tensors for {shown(module)}, whose layer is not adapted")
    errors += [f"the target {shown(target)} has no tensors" for target in sorted(wanted - hit)]
    if layers is not None and seen:
        errors += [f"layer {layer} has no tensors" for layer in sorted(set(layers) - seen)]
    return errors


_KNOWN = frozenset(json.loads(PeftConfig(LoraInfo(1, 1.0, 0.0, ()), None, None, None, False).to_bytes()))
