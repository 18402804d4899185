"""Put a LoRA adapter on a base model, a fresh one or one from a package, every tensor checked."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuralforge.adapter.refusal import Refused
from neuralforge.errors import TrustError, UserError
from neuralforge.models.base import BaseModel, causal

ADAPTER = "default"
# Where transformers models keep their layers: ``model.layers.3.mlp…``, ``transformer.h.3…``.
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|block|blocks)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Shape of an adapter (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        target_modules: module names, or ``all-linear`` for every linear layer but the head.
        layers: ``all``, ``upper-half``, how many of the upper layers carry the adapter, or which, counted from 0.
        rslora: scale by alpha / √rank (arXiv 2312.03732). dora: weight decomposition (arXiv 2402.09353).
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    layers: str | int | tuple[int, ...] = "all"
    rslora: bool = False
    dora: bool = False


def depth(base: BaseModel) -> int:
    """Number of decoder (or encoder-decoder) layers."""
    config: Any = causal(base).config
    count = getattr(config, "num_hidden_layers", None) or getattr(config, "num_layers", None) or 0
    return int(count)


def layer_of(name: str) -> int | None:
    """The layer that a parameter of a transformers model is in, by its name; None for one outside of them."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def attach(base: BaseModel, lora: LoraSettings, seed: int = 0) -> list[nn.Parameter]:
    """Wrap ``base.model`` in PEFT with fresh adapters (B = 0, so nothing changes yet); returns what is trainable.

    Raises:
        UserError: no module has one of the names, or there are fewer layers than asked for.
    """
    import peft

    model = causal(base)
    options: dict[str, Any] = {}
    if isinstance(lora.layers, tuple):
        options["layers_to_transform"] = list(lora.layers)
    elif not base.encoder_decoder and lora.layers != "all":
        total = depth(base)
        upper = (total + 1) // 2 if lora.layers == "upper-half" else int(lora.layers)
        if not 1 <= upper <= total:
            raise UserError(
                f"{upper} layers cannot be adapted: the base has {total}.", f"Use a number from 1 to {total}, or `all`."
            )
        if upper < total:
            options["layers_to_transform"] = list(range(total - upper, total))
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_linear_names(model) if modules == "all-linear" else modules,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        task_type="SEQ_2_SEQ_LM" if base.encoder_decoder else "CAUSAL_LM",
        **options,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            base.model = peft.get_peft_model(model, settings)
        except ValueError as failure:
            names = ", ".join(sorted(_linear_names(model)))
            raise UserError(
                f"The adapter does not fit this base: {failure}", f"Linear modules here: {names}."
            ) from failure
    _full_precision(base.model)
    return [parameter for parameter in base.model.parameters() if parameter.requires_grad]


def attach_adapter(base: BaseModel, folder: Path, *, trainable: bool = False) -> list[nn.Parameter]:
    """Load an unpacked adapter folder onto ``base``; every tensor in it must find its place and leave none empty.

    PEFT says nothing when names or shapes do not match; here that is an error.

    Raises:
        TrustError: the folder's tensors are not those of this adapter on this base.
    """
    import peft
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    detach(base)
    try:
        settings = peft.LoraConfig.from_pretrained(str(folder))
        stored = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as failure:
        raise TrustError(f"The adapter in {folder} cannot be read: {failure}", "Fetch or train it again.") from failure
    settings.inference_mode = not trainable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base.model = peft.get_peft_model(causal(base), settings)
    except ValueError as failure:
        raise Refused(
            "wrong-tensors",
            f"The adapter does not fit the base {base.name}: {failure}",
            "Load it on the base named in its metadata.",
        ) from failure
    _full_precision(base.model)
    expected = peft.get_peft_model_state_dict(base.model)
    missing = sorted(expected.keys() - stored.keys())
    unknown = sorted(stored.keys() - expected.keys())
    misshapen = [name for name in expected.keys() & stored.keys() if expected[name].shape != stored[name].shape]
    if missing or unknown or misshapen:
        detach(base)
        first = (missing or unknown or misshapen)[0]
        raise Refused(
            "wrong-tensors",
            f"The adapter does not fit the base {base.name}: {len(missing)} tensors are missing, {len(unknown)} have "
            f"no place and {len(misshapen)} have another shape (first: {first}).",
            "Load it on the base named in its metadata.",
        )
    peft.set_peft_model_state_dict(base.model, stored)
    for parameter in base.model.parameters():
        parameter.requires_grad_(False)
    if not trainable:
        base.model.eval()
        return []
    learned = [p for name, p in base.model.named_parameters() if "lora_" in name]
    for parameter in learned:
        parameter.requires_grad_(True)
    return learned


def detach(base: BaseModel) -> None:
    """Take every adapter off again: ``base.model`` is the plain model, with its weights as they were."""
    if hasattr(base.model, "peft_config"):
        wrapped: Any = base.model
        base.model = wrapped.unload()


def save(base: BaseModel, folder: Path) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` (fp32) as PEFT reads them.

    The base is named by its public identity, never by a path on this machine.
    """
    import peft
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().float().contiguous().cpu() for name, tensor in state(base).items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    wrapped: Any = base.model
    settings: peft.LoraConfig = wrapped.peft_config[ADAPTER]
    settings.base_model_name_or_path = base.identity
    settings.inference_mode = True
    settings.save_pretrained(str(folder))


def state(base: BaseModel) -> dict[str, torch.Tensor]:
    """The adapter's tensors by PEFT's file names."""
    import peft

    tensors: dict[str, torch.Tensor] = peft.get_peft_model_state_dict(base.model)
    return tensors


def _linear_names(model: nn.Module) -> list[str]:
    """Last name parts of all linear layers except the output head (PEFT's ``all-linear``, spelled out)."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()  # type: ignore[operator]
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    return sorted(found)


def _full_precision(model: nn.Module) -> None:
    """Adapter weights in fp32 whatever the base's type: small updates are lost in 16 bits."""
    for name, parameter in model.named_parameters():
        if "lora_" in name and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
