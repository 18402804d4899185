"""From a folder on disk to a base in memory: safetensors only, no code from the folder, every weight accounted for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from neuralforge import files
from neuralforge.errors import DataError, TrustError, UserError
from neuralforge.models.base import BaseModel
from neuralforge.models.digest import weight_files
from neuralforge.models.fim import find_fim_tokens
from neuralforge.models.precision import choose_device, choose_dtype
from neuralforge.models.providers.base import BaseFiles

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase


def check_folder(folder: Path) -> dict[str, Any]:
    """The parsed ``config.json`` of a folder that looks like a base: a model type, and weights as safetensors.

    Raises:
        UserError: it is not a model folder.
        TrustError: its weights are in a format that can run code when opened, or an adapter lies beside them.
        DataError: ``config.json`` cannot be parsed, or the weights are not there.
    """
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} is not a base model: it has no config.json.",
            "Give a folder with config.json and safetensors files, or a .gguf file.",
        )
    config = files.read_json(folder / "config.json", 4 << 20)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise DataError(f"{folder / 'config.json'} names no model type.", "It is not a transformers configuration.")
    pickled = any(next(folder.glob(pattern), None) for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt"))
    if pickled and next(folder.glob("*.safetensors"), None) is None:
        raise TrustError(
            f"{folder} holds its weights as pickle files, which can run any code when they are opened.",
            "Use a version of this model in safetensors.",
        )
    if (folder / "adapter_config.json").exists():  # transformers would attach that adapter without a word
        raise TrustError(
            f"{folder} holds an adapter beside its weights, so it does not say which network it is.",
            "Move adapter_config.json and the adapter's weights to a folder of their own.",
        )
    weight_files(folder)
    return config


def read_base(found: BaseFiles, *, name: str, dtype: str | None, device: str) -> BaseModel:
    """Load the base in ``found.folder``.

    The weights file is mapped into memory: in the format it is stored in, a tensor is read from disk when it is
    first used and never held twice.

    Args:
        found: where the files are, and what they are.
        name: what the user called it.
        dtype: ``fp32``, ``bf16``, ``fp16``, or None for the fastest that the device really has.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.

    Raises:
        UserError: unknown device, format or architecture.
        DataError: files are missing or contradict each other.
        TrustError: weights that are not safetensors.
    """
    where = choose_device(device)
    kind = choose_dtype(dtype, where)
    check_folder(found.folder)
    model = _read_model(found, kind)
    tokenizer = _read_tokenizer(found)
    model.to(where)
    model.eval()
    model.requires_grad_(False)
    embeddings = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        raise DataError(
            f"{found.identity} has {embeddings:,} embeddings for a tokenizer of {len(tokenizer):,} tokens.",
            "The tokenizer belongs to another model; fetch both from the same place.",
        )
    return BaseModel(
        name=name,
        identity=found.identity,
        digest=found.digest,
        model=model,
        tokenizer=tokenizer,
        fim=None if model.config.is_encoder_decoder else find_fim_tokens(tokenizer, embeddings),
        encoder_decoder=bool(model.config.is_encoder_decoder),
        licence=found.licence,
    )


def _read_model(found: BaseFiles, dtype: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    import neuralforge.models.arbor.modeling  # noqa: F401 - makes transformers know the type

    folder = str(found.folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    except Exception as failure:
        raise UserError(
            f"The architecture of {found.identity} is not one that transformers itself knows: {_first_line(failure)}",
            "Models that bring their own code are refused; choose another base from `neuralforge models list`.",
        ) from failure
    try:
        with quiet():
            model, report = maker.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as failure:
        raise DataError(
            f"The weights of {found.identity} in {folder} cannot be read: {_first_line(failure)}",
            "The files are damaged, incomplete or of a kind without text generation; fetch the base again.",
        ) from failure
    missing = sorted(report["missing_keys"])
    if missing:
        raise DataError(
            f"{found.identity} lacks {len(missing)} of its tensors, the first is {missing[0]!r}.",
            "They would be random numbers; the files are incomplete or belong to another architecture.",
        )
    return model


def open_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase | Any:
    """The tokenizer in ``folder``, decoding to the very bytes; ``name`` is what errors call it.

    Raises:
        DataError: there is none that can be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # tokenizer.json says everything; AutoTokenizer may prefer a class by model type (Qwen2) that splits text in its
    # own way and adds tokens the file does not have.
    maker = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    try:
        with quiet():
            tokenizer = maker.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as failure:
        raise DataError(
            f"The tokenizer of {name} in {folder} cannot be read: {_first_line(failure)}",
            "The folder needs tokenizer.json (or the files of a tokenizer that transformers knows).",
        ) from failure
    tokenizer.clean_up_tokenization_spaces = False  # decoding must give back the bytes of the code
    return tokenizer


def _read_tokenizer(found: BaseFiles) -> PreTrainedTokenizerBase | Any:
    tokenizer = open_tokenizer(found.folder, found.identity)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
        raise DataError(
            f"The tokenizer of {found.identity} has no end-of-text token.",
            "Without one a model never learns to stop; set eos_token in tokenizer_config.json.",
        )
    return tokenizer


def _first_line(failure: BaseException) -> str:
    text = str(failure).strip()
    return (text.splitlines()[0] if text else type(failure).__name__)[:300]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing on the terminal; neuralforge shows progress itself."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
