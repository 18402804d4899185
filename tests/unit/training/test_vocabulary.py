"""The softmax over known tokens and a sample of the rest, against the whole one."""

import numpy as np
import pytest
import torch

from neuralforge.tokens.encoding import Encoded
from neuralforge.training import vocabulary
from neuralforge.training.objective import completion_loss
from neuralforge.training.vocabulary import SampledVocabulary, sampled
from tests.tiny import tiny_base

SIZE, WIDTH = 400, 16


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def few(samples: int, known: int = 60) -> SampledVocabulary:
    place = torch.full((SIZE,), -1)
    chosen = torch.randperm(SIZE, generator=torch.Generator().manual_seed(3))[:known].sort().values
    place[chosen] = torch.arange(known)
    return SampledVocabulary(chosen, (place < 0).nonzero().squeeze(1), place, samples)


def case(seed: int, rows: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    targets = few(1).known[torch.randint(0, 60, (rows,), generator=made)]
    return torch.randn(rows, WIDTH, generator=made), torch.randn(SIZE, WIDTH, generator=made) / 4, targets


def both(one: SampledVocabulary, seed: int) -> tuple[float, torch.Tensor, float, torch.Tensor]:
    hidden, weight, targets = case(seed)
    hidden.requires_grad_()
    estimate, whole = one.loss(hidden, weight, targets, seed), completion_loss(hidden, weight, targets)
    mine, theirs = (torch.autograd.grad(loss, hidden)[0] for loss in (estimate, whole))
    return float(estimate.detach()), mine, float(whole.detach()), theirs


def test_with_every_token_drawn_it_is_the_whole_softmax() -> None:
    estimate, mine, whole, theirs = both(few(SIZE - 60), 0)
    assert estimate == pytest.approx(whole, rel=1e-6)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_over_many_draws_it_errs_to_neither_side() -> None:
    """The sum is estimated without bias; its logarithm and the gradient nearly so, for a sample of this size."""
    found = [both(few(100), seed) for seed in range(60)]
    error = np.array([estimate / whole - 1 for estimate, _, whole, _ in found])
    assert np.abs(error).max() > 1e-4  # a sample, not the whole
    assert abs(error.mean()) < 0.003
    mine, theirs = (torch.stack([one[at] for one in found]).flatten() for at in (1, 3))
    assert float(torch.cosine_similarity(mine, theirs, dim=0)) > 0.98
    assert float((mine - theirs).mean()) == pytest.approx(0, abs=2e-3)


def test_leaving_the_rest_out_would_err() -> None:
    """What the weights of the drawn tokens are for."""
    hidden, weight, targets = case(0)
    one = few(100)
    without = completion_loss(hidden, weight[one.known], one.place[targets])
    whole = completion_loss(hidden, weight, targets)
    assert float(without) < 0.8 * float(whole)
    assert float(one.loss(hidden, weight, targets, 0)) == pytest.approx(float(whole), rel=0.02)


def test_the_draw_is_a_function_of_the_seed() -> None:
    hidden, weight, targets = case(5)
    one = few(20)
    torch.manual_seed(1)
    first = one.loss(hidden, weight, targets, 7)
    torch.manual_seed(2)
    assert torch.equal(one.loss(hidden, weight, targets, 7), first)
    assert not torch.equal(one.loss(hidden, weight, targets, 8), first)


def test_the_known_tokens_are_those_with_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_base("llama")
    for parameter in base.model.parameters():
        parameter.requires_grad_(requires_grad=False)
    size = base.model.get_output_embeddings().weight.shape[0]
    rows = [
        Encoded(np.array([9, 5, 7], np.int32), np.array([False, True, True]), 0, ""),
        Encoded(np.array([11, 7, 5], np.int32), np.array([False, False, True]), 1, ""),
    ]
    assert sampled(base, rows) is None  # the tiny vocabulary is smaller than the sample
    monkeypatch.setattr(vocabulary, "SAMPLES", 30)
    one = sampled(base, rows)
    assert one is not None
    assert one.known.tolist() == [5, 7]
    assert sorted([*one.known.tolist(), *one.rest.tolist()]) == list(range(size))
    assert one.place[one.known].tolist() == [0, 1]
    for parameter in base.model.parameters():
        parameter.requires_grad_(requires_grad=True)
    assert sampled(base, rows) is None  # a head that learns needs every token
