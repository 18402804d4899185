"""Generation against transformers' own, alone and in batches, with adapters, stops, drawing and streaming."""

import copy
from collections.abc import Mapping, Sequence

import pytest
import torch
from peft import LoraConfig, get_peft_model

from neuralforge.errors import DataError, UserError
from neuralforge.models.base import BaseModel
from neuralforge.models.generation import generate, stream, stream_text
from neuralforge.models.sampling import Sampling
from tests.tiny import ARCHITECTURES, tiny_base

TEXTS = ("def f(x):", "class A:\n    pass\n\n", "import", "x = 1  # a comment that is long")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def prompts_of(base: BaseModel) -> list[list[int]]:
    return [base.tokenizer.encode(text) for text in TEXTS]


def reference(base: BaseModel, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    out = base.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False
    )[0].tolist()
    new = out[1:] if base.encoder_decoder else out[len(prompt) :]
    return new[: new.index(1)] if 1 in new else new


def adapted(architecture: str) -> BaseModel:
    base = tiny_base(architecture)
    torch.manual_seed(1)
    targets = {"gpt2": ["c_attn"], "t5": ["q", "v"]}.get(architecture, ["q_proj", "v_proj"])
    task = "SEQ_2_SEQ_LM" if base.encoder_decoder else "CAUSAL_LM"
    base.model = get_peft_model(
        base.model, LoraConfig(r=4, target_modules=targets, task_type=task, init_lora_weights=False)
    )
    return base


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("peft", [False, True], ids=["plain", "adapter"])
def test_matches_transformers_whatever_the_batch(architecture: str, peft: bool) -> None:
    base = adapted(architecture) if peft else tiny_base(architecture)
    prompts = prompts_of(base)
    wanted = [reference(base, prompt, 10) for prompt in prompts]
    assert generate(base, prompts, max_new_tokens=10) == wanted
    assert generate(base, prompts[::-1], max_new_tokens=10, batch_size=3) == wanted[::-1]
    if peft:
        with base.model.disable_adapter():
            assert generate(base, prompts, max_new_tokens=10) != wanted


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_prompt_may_have_a_limit_of_its_own(architecture: str) -> None:
    base = tiny_base(architecture)
    prompts = prompts_of(base)
    limits = [number % 4 for number in range(len(prompts))]
    free = generate(base, prompts, max_new_tokens=3)
    assert generate(base, prompts, max_new_tokens=limits) == [
        row[:limit] for row, limit in zip(free, limits, strict=True)
    ]
    with pytest.raises(UserError):
        generate(base, prompts, max_new_tokens=limits[1:])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stop_token_ends_one_row_and_not_the_others(architecture: str) -> None:
    base = tiny_base(architecture)
    prompts = prompts_of(base)
    free = generate(base, prompts, max_new_tokens=10)
    stop = free[0][2]
    wanted = [row[: row.index(stop)] if stop in row else row for row in free]
    assert generate(base, prompts, max_new_tokens=10, stop=[stop]) == wanted
    assert len(wanted[0]) <= 2


def test_every_step_is_told() -> None:
    base = tiny_base("llama")
    steps: list[dict[int, int]] = []

    def on_tokens(fresh: Mapping[int, int]) -> None:
        steps.append(dict(fresh))

    done = generate(base, prompts_of(base), max_new_tokens=6, on_tokens=on_tokens)
    told = {number: [step[number] for step in steps if number in step] for number in range(len(TEXTS))}
    for number, completion in enumerate(done):
        assert told[number][: len(completion)] == completion


def test_drawing_depends_on_seed_and_prompt_only() -> None:
    base = tiny_base("llama")
    prompts = prompts_of(base)
    drawn = generate(base, prompts, max_new_tokens=8, sampling=Sampling(1.5, seed=3))
    assert generate(base, prompts, max_new_tokens=8, sampling=Sampling(1.5, seed=3), batch_size=1) == drawn
    assert generate(base, prompts, max_new_tokens=8, sampling=Sampling(1.5, seed=4)) != drawn
    same = generate(base, [prompts[0]] * 4, max_new_tokens=8, sampling=Sampling(1.5, seed=3))
    assert len({tuple(row) for row in same}) > 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.2, top_p=0.8, seed=5)], ids=["greedy", "drawn"])
def test_a_stream_is_the_same_completion_token_by_token(architecture: str, sampling: Sampling) -> None:
    base = tiny_base(architecture)
    prompt = prompts_of(base)[0]
    (whole,) = generate(base, [prompt], max_new_tokens=8, sampling=sampling)
    assert list(stream(base, prompt, max_new_tokens=8, sampling=sampling)) == whole


def test_a_stream_leaves_the_readers_own_gradients_alone() -> None:
    base = tiny_base("llama")
    for _ in stream(base, [5, 6], max_new_tokens=2):
        assert not torch.is_inference_mode_enabled()


def test_drawing_is_transformers_own() -> None:
    """One token at a time, the candidates after all adjustments are those of the library's own generation."""
    base = tiny_base("llama")
    prompt = prompts_of(base)[3]
    drawn = {
        generate(base, [prompt], max_new_tokens=1, sampling=Sampling(2.0, 0.7, 5, 1.3, seed))[0][0]
        for seed in range(60)
    }
    ids = torch.tensor([prompt])
    out = base.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=2.0,
        top_p=0.7,
        top_k=5,
        repetition_penalty=1.3,
        max_new_tokens=1,
        output_scores=True,
        return_dict_in_generate=True,
    )
    possible = set(out.scores[0][0].isfinite().nonzero().flatten().tolist())
    assert 1 < len(drawn) <= len(possible)
    assert drawn <= possible


def test_repeating_costs_and_top_k_of_one_is_greedy() -> None:
    base = tiny_base("gpt2")
    prompt = prompts_of(base)[0]
    greedy = generate(base, [prompt], max_new_tokens=6)
    assert generate(base, [prompt], max_new_tokens=6, sampling=Sampling(1.0, top_k=1, seed=1)) == greedy
    (never,) = generate(base, [prompt], max_new_tokens=6, sampling=Sampling(repetition_penalty=1e6))
    assert len({*never, *prompt}) == len(never) + len(set(prompt))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
    ],
    ids=str,
)
def test_impossible_ways_of_drawing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("abc", [], "abc"),
        ("abcSTOPdef", ["STOP"], "abc"),
        ("abST", ["STOP"], "abST"),
        ("SSTOP", ["STOP"], "S"),
        ("a--b==c", ["==", "--"], "a"),
        ("STOP", ["STOP"], ""),
        ("", ["x"], ""),
        ("naïve €", [], "naïve €"),
    ],
)
def test_streamed_text_ends_before_a_stop_and_is_never_half_a_character(
    text: str, stop: list[str], expected: str
) -> None:
    """Tokens are single bytes, so that characters and stops come in pieces."""

    def decode(ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    pieces = list(stream_text(iter(text.encode()), decode, stop))
    assert "".join(pieces) == expected
    assert "\ufffd" not in "".join(pieces)
    assert all(pieces)


def test_nothing_asked_nothing_given() -> None:
    base = tiny_base("llama")
    assert generate(base, [], max_new_tokens=4) == []
    assert generate(base, [[5]], max_new_tokens=0) == [[]]


def test_the_model_is_left_as_it_was() -> None:
    base = tiny_base("gpt2")
    base.model.train()
    before = copy.deepcopy(base.model.state_dict())
    generate(base, [[5, 6]], max_new_tokens=3)
    assert base.model.training
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())


@pytest.mark.parametrize("prompt", [[], [-1], [10_000], [5] * 510])
def test_impossible_prompts_are_refused(prompt: list[int]) -> None:
    with pytest.raises(DataError):
        generate(tiny_base("gpt2"), [[5], prompt], max_new_tokens=4)


@pytest.mark.parametrize("wrong", [{"max_new_tokens": -1}, {"batch_size": 0}])
def test_impossible_arguments_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        generate(tiny_base("gpt2"), [[5]], **{"max_new_tokens": 1, **wrong})  # type: ignore[arg-type]
