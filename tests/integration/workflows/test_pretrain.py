"""``neuralforge pretrain`` from the command line: a model of one's own, grown, killed, resumed, tried out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from neuralforge.cli.app import run
from neuralforge.config.load import PRETRAINING, preset_names, resolve
from neuralforge.config.pretraining import PretrainConfig
from neuralforge.errors import DataError, RunError
from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.modeling import ArborForCausalLM
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Event, Grown, Step
from neuralforge.tokens.tokenizer import train_tokenizer
from neuralforge.training import growing
from neuralforge.workflows.pretrain import pretrain

Call = Callable[..., tuple[int, str, str]]
SMALL: dict[str, Any] = {
    "model": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    },
    "training": {"max_seq_len": 32, "batch_size": 4, "learning_rate": 5e-3},
    "evaluation": {"eval_every": 5, "windows": 4, "validation": 0.1},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    texts = [f"def f{n}(first):\n    return first + {n}\n" for n in range(200)]
    (tmp_path / "code.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    train_tokenizer(texts, vocab_size=300).save_pretrained(tmp_path / "tok")
    return tmp_path


def settings(**changes: dict[str, Any]) -> PretrainConfig:
    content: dict[str, Any] = {"tokenizer": "tok", "datasets": [{"source": "code.jsonl"}], "run": {"save_dir": "own"}}
    for section, values in (*SMALL.items(), *changes.items()):
        content[section] = {**content.get(section, {}), **values}
    return PretrainConfig.model_validate(content)


@pytest.fixture
def call(folder: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    (folder / "c.yaml").write_text(json.dumps(SMALL))

    def program(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(word) for word in words])
        seen = capfd.readouterr()
        return code, seen.out, seen.err

    return program


def test_from_text_to_a_model_that_writes(call: Call, folder: Path) -> None:
    words = ("pretrain", "--config", "c.yaml", "--data", "code.jsonl", "--tokenizer", "tok", "--save-dir", "own")
    code, out, err = call(*words, "--max-steps", 40, "--epochs", 2, "--prompt", "def f1(", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["steps"] == 40
    assert "sample: def f1(" in err
    model = AutoModelForCausalLM.from_pretrained(folder / "own")
    assert isinstance(model, ArborForCausalLM)
    assert model.count_parameters() == told["parameters"]
    tokenizer = AutoTokenizer.from_pretrained(folder / "own")
    ids = tokenizer("def f3(first):\n    return first + 3\n", return_tensors="pt")["input_ids"]
    assert float(model(ids, labels=ids).loss) < 3.0 < float(torch.tensor(len(tokenizer)).log())
    code, out, err = call("generate", "--model", "own", "--prompt", "def f7(", "--max-tokens", 8, "--temperature", 0)
    assert code == 0, err
    assert out.strip()
    code, _, err = call(*words)
    assert (code, "already exists" in err) == (2, True)


@pytest.mark.parametrize("stop", [3, 8, 14])
def test_killed_and_resumed_it_grows_alike_to_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(growing, "RISING", 9.0)
    growth = {"enabled": True, "factor": 1.5, "max": 2.0, "threshold": 0.0, "monitor_frequency": 4, "plateau": 1.0}
    common = {"training": {"max_steps": 16}, "model": {"growth": growth}}
    seen: list[Event] = []

    def killer(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Step) and event.step == stop:
            raise MemoryError

    every = {"checkpoint_every_seconds": 1.0}
    whole = pretrain(settings(**common, run={"save_dir": "whole", **every}), emit=seen.append)
    assert any(isinstance(event, Grown) for event in seen)
    assert whole.widths == (64, 64)
    with pytest.raises(Exception, match="memory"):
        pretrain(settings(**common, run={"save_dir": "torn", "directory": "run", **every}), emit=killer)
    for path in (folder / "tok").iterdir():
        path.unlink()  # the run has its own
    torn = pretrain(PretrainConfig.model_validate({"run": {"resume": "run"}}))
    assert torn.widths == whole.widths
    one, two = (load_file(folder / name / "model.safetensors") for name in ("whole", "torn"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert RunDirectory.open_existing(folder / "run").state.outcome == "done"
    assert json.loads((folder / "torn" / "pretraining.json").read_text())["growth"]


def test_killed_right_after_saving_it_is_done_at_once(folder: Path) -> None:
    made = pretrain(settings(training={"max_steps": 4}, run={"directory": "run"}))
    RunDirectory.open_existing(made.run).update(outcome="running", resume="neuralforge pretrain --resume run")
    again = pretrain(PretrainConfig.model_validate({"run": {"resume": "run"}}))
    assert (again.model, again.steps) == (made.model, made.steps)
    (folder / "own" / "pretraining.json").write_text("{}")
    RunDirectory.open_existing(made.run).update(outcome="running")
    with pytest.raises(RunError, match="someone else"):
        pretrain(PretrainConfig.model_validate({"run": {"resume": "run"}}))


def test_a_budget_is_kept(folder: Path) -> None:
    seen: list[Event] = []
    made = pretrain(settings(training={"epochs": 1000}, run={"budget": 14.0}), emit=seen.append)
    rates = [event.learning_rate for event in seen if isinstance(event, Step)]
    assert len(rates) == made.steps
    # The schedule is that of the steps which fit, not of all that were asked for.
    assert max(rates) == pytest.approx(5e-3, rel=0.05)
    assert rates.index(max(rates)) < 0.3 * len(rates)
    assert rates[-1] < 0.2 * max(rates)


def test_a_post_training_follows_at_once(folder: Path) -> None:
    later = {"enabled": True, "datasets": [{"source": "code.jsonl"}], "max_steps": 6, "lora_enabled": True}
    made = pretrain(settings(training={"max_steps": 6}, post_training=later))
    assert made.post_trained is not None
    assert made.post_trained.steps == 6
    assert made.post_trained.output == folder / "own-post-trained"
    one, two = (load_file(place / "model.safetensors") for place in (made.model, made.post_trained.output))
    assert any(not torch.equal(one[name], two[name]) for name in one)
    wrong = settings(run={"save_dir": "other"}, post_training={**later, "datasets": [{"source": "gone.txt"}]})
    with pytest.raises(DataError, match=r"gone\.txt"):
        pretrain(wrong)
    assert not (folder / "other").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "tokenizer"),
        (("--tokenizer", "tok"), 2, "--data"),
        (("--tokenizer", "tok", "--data", "gone.txt"), 3, "gone.txt"),
        (("--tokenizer", "nowhere", "--data", "code.jsonl"), 3, "nowhere"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--max-seq-len", "128"), 2, "max_position_embeddings"),
        (("--tokenizer", "tok", "--data", "short.txt"), 3, "fewer than one window"),
        (("--tokenizer", "tok", "--data", "empty.txt"), 3, "empty"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--preset", "huge"), 2, "preset"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--batch-size", "0"), 2, "training.batch_size"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--config", "wrong.yaml"), 2, "model.growth.factor"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--config", "uneven.yaml"), 2, "heads"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--config", "other.yaml"), 2, "vocab_size"),
        (("--tokenizer", "tok", "--data", "code.jsonl", "--config", "huge.yaml"), 2, "MiB are available"),
        (("--resume", "nowhere"), 4, "nowhere"),
        (("--resume", "nowhere", "--epochs", "2"), 2, "--resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_trained_is_refused_before_any_work(
    call: Call, folder: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (folder / "short.txt").write_text("a = 1\n")
    (folder / "empty.txt").write_text("")
    (folder / "wrong.yaml").write_text("model:\n  growth:\n    factor: 0.5\n")
    (folder / "uneven.yaml").write_text("model:\n  hidden_size: 30\n  num_attention_heads: 4\n")
    (folder / "other.yaml").write_text("model:\n  vocab_size: 50\n")
    (folder / "huge.yaml").write_text("model:\n  hidden_size: 65536\n  num_layers: 512\n")
    if "--config" not in words and "--preset" not in words and "--resume" not in words:
        words = (*words, "--config", "c.yaml")
    found, out, err = call("pretrain", *words)
    assert (found, out) == (code, ""), err
    assert said in err
    assert not (folder / "arbor").exists()


def test_of_another_command_a_run_is_not_resumed(call: Call, folder: Path) -> None:
    run_folder = RunDirectory.create(folder / "run", "x", {})
    run_folder.update(resume="neuralforge train --resume run")
    code, _, err = call("pretrain", "--resume", "run")
    assert code == 2
    assert "neuralforge train" in err


@pytest.mark.parametrize(
    ("name", "vocabulary", "expected"),
    [
        ("tiny", 8000, 10e6),
        ("small", 16000, 50e6),
        ("medium", 32000, 200e6),
        ("large", 32000, 500e6),
        ("arbor-699m", 128_000, 699e6),
    ],
)
def test_presets_have_the_sizes_they_are_named_for(name: str, vocabulary: int, expected: float) -> None:
    model = resolve(PRETRAINING, preset=name).config.model
    assert name in preset_names(PRETRAINING)
    plain = model.model_dump(exclude={"growth", "vocab_size"})
    with torch.device("meta"):
        made = ArborForCausalLM(ArborConfig(**plain, vocab_size=vocabulary))
    assert made.count_parameters() == pytest.approx(expected, rel=0.01)
    if name == "arbor-699m":
        wide = [int(width * model.growth.max) for width in made.config.intermediate_sizes]
        with torch.device("meta"):
            grown = ArborForCausalLM(ArborConfig(**plain, vocab_size=vocabulary, intermediate_sizes=wide))
        assert grown.count_parameters() == pytest.approx(799e6, rel=0.005)
