"""Judging real (tiny, random) networks of four shapes: batches, caches and adapters agree with plain decoding."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from neuralforge.data.records import Example
from neuralforge.evaluation.completions import Start, complete_prompts, decode, write_out
from neuralforge.evaluation.judge import judge, measure, measure_pair
from neuralforge.evaluation.latency import measure_latency, prompts_for
from neuralforge.evaluation.memory import measure_memory
from neuralforge.models.base import BaseModel
from neuralforge.models.generation import Writing, generate
from neuralforge.tokens.encoding import encode
from neuralforge.training.scoring import score
from tests.tiny import ARCHITECTURES, tiny_base

TARGETS = {"llama": ["q_proj"], "qwen2": ["q_proj"], "gpt2": ["c_attn"], "t5": ["q", "v"]}
LINES = [f"    result = self.total + {number}\n" for number in range(40)]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def adapted(architecture: str, strength: float = 0.3) -> BaseModel:
    """A tiny base with a random adapter that changes something."""
    base = tiny_base(architecture)
    torch.manual_seed(1)
    settings = LoraConfig(r=2, lora_alpha=4, target_modules=TARGETS[architecture])
    base.model = get_peft_model(base.model, settings).eval()
    with torch.no_grad():
        for name, weight in base.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, strength)
    return base


def examples(count: int = 12) -> list[Example]:
    return [
        Example("".join(LINES[n : n + 3]), "".join(LINES[n + 3 : n + 5]), path="a.py", commit=f"{n:04x}")
        for n in range(count)
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_verdict_on_every_architecture(architecture: str) -> None:
    base, judged = adapted(architecture), examples()
    encoded = encode(judged, base, max_length=96)
    verdict = judge(base, judged, encoded, writing=Writing(4, 8))
    record = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert record["examples"] == 12
    assert record["metrics"]["loss"]["base"] != record["metrics"]["loss"]["adapter"]
    assert record["metrics"]["edit_similarity"]["examples"] == 4
    assert len(verdict.samples) == 4
    assert verdict.to_json() == judge(base, judged, encoded, writing=Writing(4, 8)).to_json()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_going_on_from_the_agreed_prefix_writes_what_plain_decoding_writes(architecture: str) -> None:
    base = adapted(architecture)
    plain = encode(examples(4), base, max_length=96)
    scored = score(base, plain)
    starts = [Start.of(item, found, 8) for item, found in zip(plain, scored, strict=True)]
    # Targets that begin as the model would, so that there is something to agree on.
    written = [generate(base, [start.prompt], max_new_tokens=4)[0] for start in starts]
    for start, text, item in zip(starts, written, plain, strict=True):
        begin = len(start.prompt)
        keep = min(len(text), int(item.loss.sum()))
        item.ids[begin : begin + keep] = text[:keep]
    again = score(base, plain)
    starts = [Start.of(item, found, 8) for item, found in zip(plain, again, strict=True)]
    assert any(start.agreed >= 3 for start in starts)
    for start, text in zip(starts, write_out(base, starts, batch_size=3), strict=True):
        (direct,) = generate(base, [start.prompt], max_new_tokens=len(start.target))
        assert text == decode(base, direct)


def test_measuring_alone_equals_measuring_in_a_pair() -> None:
    base = adapted("llama")
    encoded = encode(examples(), base, max_length=96)
    _, on = measure_pair(base, encoded, writing=Writing(3, 6))
    alone = measure(base, encoded, writing=Writing(3, 6))
    assert np.allclose(on.table.nll, alone.table.nll, rtol=1e-4)
    assert on.texts == alone.texts


def test_an_adapter_that_does_nothing_changes_nothing() -> None:
    base, judged = adapted("llama", strength=0.0), examples()
    verdict = judge(base, judged, encode(judged, base, max_length=96), writing=Writing(3))
    assert verdict.outcome == "no evidence"
    assert verdict.comparison.metrics["loss"].change == pytest.approx(0, abs=1e-6)
    assert all(sample.base == sample.adapter for sample in verdict.samples)


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_waiting_times_and_memory(architecture: str, tmp_path: Any) -> None:
    base = adapted(architecture)
    encoded = encode(examples(), base, max_length=96)
    off, on = measure_latency(base, prompts_for(base, encoded, 3), new_tokens=4)
    assert len(off.first_token) == len(on.first_token) == 3
    assert all(time > 0 for time in (*on.first_token, *on.per_token))
    package = tmp_path / "a.lora"
    package.write_bytes(b"12")
    memory = measure_memory(base, package)
    adapter = sum(p.numel() * p.element_size() for name, p in base.model.named_parameters() if "lora_" in name)
    assert memory.adapter_weights == adapter > 0
    assert memory.peak > memory.base_weights > adapter
    assert len(complete_prompts(base, [("python", "import ")], new_tokens=3)) == 1
