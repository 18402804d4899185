"""``neuralforge generate`` from the command line on tiny models and an adapter of one."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from neuralforge.cli.app import run
from neuralforge.models.generation import generate
from neuralforge.models.loading import load_base_model
from neuralforge.models.sampling import Sampling
from neuralforge.tokens.encoding import plain_ids
from neuralforge.training.trainer import LoRATrainer
from tests.tiny import save_tiny

PROMPT = "def f(x):"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    save_tiny("llama", tmp_path / "base")

    def program(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(["generate", *map(str, words)])
        seen = capfd.readouterr()
        return code, seen.out, seen.err

    return program


def expected(sampling: Sampling, count: int = 12) -> str:
    base = load_base_model("base")
    (ids,) = generate(base, plain_ids([PROMPT], base.tokenizer), max_new_tokens=count, sampling=sampling)
    return str(base.tokenizer.decode(ids))


def test_it_writes_what_the_model_says(call: Call) -> None:
    code, out, err = call("--model", "base", "--prompt", PROMPT, "--max-tokens", 12, "--temperature", 0)
    assert code == 0
    assert out == expected(Sampling()) + "\n"
    assert "12 tokens" in err


def test_seeds_repeat_and_json_tells_all(call: Call) -> None:
    words = ("--model", "base", "--prompt", PROMPT, "--max-tokens", 12, "--temperature", 2, "--seed", 3, "--json")
    told = json.loads(call(*words)[1])
    assert told["text"] == expected(Sampling(2.0, 0.9, 50, 1.0, 3))
    assert json.loads(call(*words)[1])["text"] == told["text"]
    assert told["prompt_tokens"] > 0
    assert told["ended"] in ("length", "end")
    assert json.loads(call(*words, "--seed", 4)[1])["text"] != told["text"]


def test_a_stop_ends_it(call: Call) -> None:
    whole = expected(Sampling())
    stop = whole[5]
    words = ("--model", "base", "--prompt", PROMPT, "--max-tokens", 12, "--temperature", 0, "--json")
    told = json.loads(call(*words, "--stop", stop)[1])
    assert (told["text"], told["ended"]) == (whole[: whole.index(stop)], "stop")


def test_an_adapter_writes_on_its_own_base(call: Call, tmp_path: Path) -> None:
    base = load_base_model("base")
    trainer = LoRATrainer(base, rank=4, learning_rate=0.3, epochs=2)
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"context": "a = ", "completion": "1\n", "language": "python"}) + "\n"
    )
    trainer.train("rows.jsonl")
    trainer.save_adapter("own.lora")
    words = ("--prompt", PROMPT, "--max-tokens", 12, "--temperature", 0)
    code, out, err = call("--adapter", "own.lora", *words)
    assert code == 0, err
    assert out != call("--model", "base", *words)[1]
    assert call("--adapter", "own.lora", "--model", "base", *words)[1] == out


def test_prompts_from_standard_input_and_one_after_the_other(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PROMPT))
    words = ("--model", "base", "--max-tokens", 12, "--temperature", 0)
    assert call(*words)[1] == expected(Sampling()) + "\n"
    lines = iter([PROMPT, "", PROMPT])

    def typed() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    _, out, err = call(*words, "--interactive")
    assert out == (expected(Sampling()) + "\n") * 2
    assert err.count("> ") == 4  # the question is not among the results


def test_a_prompt_that_is_too_long_does_not_end_the_conversation(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["word " * 5000, PROMPT])

    def typed() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    code, out, err = call("--model", "base", "--max-tokens", 12, "--temperature", 0, "--interactive")
    assert code == 0
    assert "positions" in err
    assert out == expected(Sampling()) + "\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--model", "nowhere/at/all", "--prompt", "a"), 2, "nowhere"),
        (("--model", "base", "--json", "--interactive"), 2, "--json"),
        (("--model", "base", "--prompt", "a", "--top-p", "0"), 2, "top_p"),
        (("--model", "base", "--prompt", "a", "--temperature", "-1"), 2, "temperature"),
        (("--model", "base", "--prompt", "a", "--max-tokens", "0"), 2, "--max-tokens"),
        (("--model", "base", "--prompt", "a", "--stop", ""), 2, "--stop"),
        (("--model", "base", "--prompt", "a", "--max-tokens", "99999"), 3, "positions"),
        (("--model", "base", "--prompt", "a", "--interactive"), 2, "--interactive"),
        (("--model", "base", "--prompt", ""), 3, "--prompt"),
        (("--adapter", "missing.lora", "--prompt", "a"), 2, "missing.lora"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_written(call: Call, words: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = call(*words)
    assert (found, out) == (code, "")
    assert said in err
