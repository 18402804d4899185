"""Give a model to tools that do not know neuralforge."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralforge import files, paths
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Phase, silent

# Names of number formats in config.json; any other is widened.
_STORED = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the ``folder``, its ``parameters``, the ``widths`` that layers had, the ``width`` now."""

    folder: Path
    parameters: int
    widths: tuple[int, ...]
    width: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "folder": str(self.folder),
            "parameters": self.parameters,
            "widths": list(self.widths),
            "width": self.width,
        }


def export_llama(model: str, output: str | Path, *, emit: Emit = silent) -> Exported:
    """Write the Arbor model ``model`` as a Llama checkpoint that computes the same, in the format it is stored in.

    Raises:
        UserError: ``model`` is no Arbor model, or ``output`` is taken.
        DataError, TrustError: the model cannot be read.
        RunError: ``output`` cannot be written; nothing is left behind.
    """
    folder = paths.expanded(str(output)).resolve()
    if os.path.lexists(folder):
        raise UserError(f"{folder} already exists.", "Choose another --output folder, or remove this one first.")
    from neuralforge.models.arbor.modeling import ArborForCausalLM
    from neuralforge.models.arbor.to_llama import as_llama
    from neuralforge.models.base import causal
    from neuralforge.models.loading import fetch_base_model, load_base_model
    from neuralforge.models.reading import check_folder
    from neuralforge.workflows.train_tokenizer import saved

    config = check_folder(fetch_base_model(model, emit=emit).folder)
    if config["model_type"] != "arbor":
        raise UserError(
            f"{model} is a {config['model_type']} model, not one made by `neuralforge pretrain`.",
            "What transformers knows already needs no export to be loaded without neuralforge.",
        )
    stored = _STORED.get(str(config.get("dtype") or config.get("torch_dtype")), "fp32")
    base = load_base_model(model, dtype=stored, emit=emit)
    arbor = causal(base)
    assert isinstance(arbor, ArborForCausalLM)
    emit(Phase("save", str(folder)))
    llama: Any = as_llama(arbor)
    with files.atomic_folder(folder) as made:
        saved(llama, made)
        saved(base.tokenizer, made)
    widths = tuple(arbor.config.intermediate_sizes)
    return Exported(folder, llama.num_parameters(), widths, llama.config.intermediate_size)
