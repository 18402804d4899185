"""Tiny bases of four shapes from a folder: loaded whole, or refused with a reason."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neuralforge.errors import DataError, NeuralForgeError, TrustError, UserError
from neuralforge.models import load_base_model
from neuralforge.models.generation import generate
from tests.tiny import ARCHITECTURES, save_tiny


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_gives_back_what_was_saved(architecture: str, tmp_path: Path) -> None:
    saved = save_tiny(architecture, tmp_path / "base", fim=True)
    base = load_base_model(str(tmp_path / "base"), dtype="fp32", offline=True)
    assert base.name == base.identity == "base"
    assert base.encoder_decoder == (architecture == "t5")
    assert base.fim == (None if architecture == "t5" else saved.fim)
    assert base.digest.startswith("sha256:")
    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    prompts = [saved.tokenizer.encode("def f(x):"), saved.tokenizer.encode("return")]
    assert generate(base, prompts, max_new_tokens=8) == generate(saved, prompts, max_new_tokens=8)
    code = "x =  12\r\n\t\u00a0\u3000é漢🙂\u200b . , 'm ' m\n"
    assert base.tokenizer.decode(base.tokenizer.encode(code)) == code


@pytest.mark.parametrize(
    ("dtype", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_the_format_is_the_one_asked_for(dtype: str, kind: torch.dtype, tmp_path: Path) -> None:
    save_tiny("llama", tmp_path)
    model = load_base_model(str(tmp_path), dtype=dtype).model
    assert {parameter.dtype for parameter in model.parameters()} == {kind}


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def lacking_a_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def reshaped(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros(7)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")


def config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def unknown_architecture(folder: Path) -> None:
    config(folder, model_type="not-a-model", auto_map={"AutoConfig": "evil.Config"})
    (folder / "evil.py").write_text("raise SystemExit('code from the folder ran')")


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def larger_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    token = {"id": 500, "content": "<new>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"].append({**token, **flags})
    path.write_text(json.dumps(content))


def with_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))


BAD = {
    with_an_adapter: TrustError,
    pickled: TrustError,
    without_weights: DataError,
    lacking_a_tensor: DataError,
    reshaped: DataError,
    cut: DataError,
    huge_header: DataError,
    unknown_architecture: UserError,
    broken_config: DataError,
    no_config: UserError,
    no_tokenizer: DataError,
    larger_tokenizer: DataError,
}


@pytest.mark.parametrize("damage", BAD, ids=lambda damage: damage.__name__)
def test_bad_folders_are_refused(damage: object, tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "base")
    damage(tmp_path / "base")  # type: ignore[operator]
    with pytest.raises(BAD[damage]) as caught:  # type: ignore[index]
        load_base_model(str(tmp_path / "base"))
    assert isinstance(caught.value, NeuralForgeError)
    assert caught.value.hint
