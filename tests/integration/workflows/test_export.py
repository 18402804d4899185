"""``neuralforge export``: an Arbor model as a checkpoint that needs no neuralforge."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from neuralforge.cli.app import run
from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.modeling import ArborForCausalLM
from tests.tiny import tiny_model, tiny_tokenizer

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))

    def called(*arguments: str) -> tuple[int, str, str]:
        code = run(["export", *arguments])
        return (code, *capfd.readouterr())

    return called


def grown(kind: torch.dtype) -> ArborForCausalLM:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    model = ArborForCausalLM(
        ArborConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, context_length=64,
        )
    )  # fmt: skip
    model.expand_layer(1, 2.0)
    model.to(kind).save_pretrained("own")
    tokenizer.save_pretrained("own")
    return model.eval()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_it_loads_as_llama_and_computes_the_same(call: Call, kind: torch.dtype) -> None:
    model = grown(kind)
    code, out, err = call("--model", "own", "--as", "llama", "--output", "plain", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["widths"], told["width"]) == ([48, 96, 48], 96)
    loaded = AutoModelForCausalLM.from_pretrained("plain", dtype="auto").eval()
    assert isinstance(loaded, LlamaForCausalLM)
    assert loaded.dtype == kind
    ids = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        close = 1e-5 if kind == torch.float32 else 2e-2
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=close, atol=close)
    text = "def f(a):\n    return a"
    assert AutoTokenizer.from_pretrained("plain")(text)["input_ids"] == tiny_tokenizer()(text)["input_ids"]


def test_people_are_told_what_was_padded(call: Call) -> None:
    grown(torch.float32)
    code, out, _ = call("--model", "own", "--output", "plain")
    assert code == 0
    assert "layers of 48 to 96 neurons are padded to 96" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nowhere", "--output", "plain"), "nowhere"),
        (("--model", "own", "--output", "own"), "already exists"),
        (("--model", "llama", "--output", "plain"), "not one made by"),
        (("--model", "own", "--as", "onnxx", "--output", "plain"), "onnxx"),
        (("--model", "empty", "--output", "plain"), "no config.json"),
    ],
)
def test_bad_input_leaves_nothing_behind(call: Call, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    grown(torch.float32)
    (tmp_path / "empty").mkdir()
    tokenizer = tiny_tokenizer()
    tiny_model("llama", len(tokenizer)).save_pretrained("llama")
    tokenizer.save_pretrained("llama")
    before = sorted(path.name for path in tmp_path.iterdir() if path.name != "home")
    code, _, err = call(*arguments)
    assert code != 0
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == before
