"""8-bit products: exact where the entries are, close where they are not, and honest about what is not finite."""

import pytest
import torch

from neuralforge.training.int8 import LEVELS, Int8Matrix

KINDS = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_eight_bits_can_say_is_multiplied_exactly(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = torch.randint(-LEVELS, LEVELS + 1, (48, 32)).float()
    x = torch.randint(-LEVELS, LEVELS + 1, (10, 32)).float()
    weight[:, 0] = x[:, 0] = LEVELS  # every row's scale is one
    ours = Int8Matrix(weight.to(kind)).forward(x.to(kind))
    assert torch.equal(ours, (x @ weight.T).to(kind))
    grad = torch.randint(-LEVELS, LEVELS + 1, (10, 48)).float()
    grad[:, 0] = LEVELS
    assert torch.equal(Int8Matrix(weight.to(kind)).backward(grad.to(kind)), (grad @ weight).to(kind))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_rows_of_very_different_size_are_each_multiplied_closely(kind: torch.dtype) -> None:
    torch.manual_seed(1)
    rows = torch.logspace(-6, 6, 24).unsqueeze(1)
    weight = (torch.randn(64, 40) * torch.logspace(-2, 2, 64).unsqueeze(1)).to(kind)
    x = (torch.randn(24, 40) * rows).to(kind)
    matrix = Int8Matrix(weight)
    for ours, exact in (
        (matrix.forward(x).double(), x.double() @ weight.double().T),
        (matrix.backward((torch.randn(24, 64) * rows).to(kind)), None),
    ):
        if exact is not None:
            wrong = (ours - exact) / weight.double().norm(dim=1) / x.double().norm(dim=1, keepdim=True)
            assert float(wrong.abs().max()) < 0.02
        assert bool(ours.isfinite().all())


def test_a_row_of_nothing_stays_nothing_and_a_row_that_is_not_finite_is_not_hidden() -> None:
    x = torch.ones(3, 8)
    x[0] = 0.0
    x[1, 3] = float("nan")
    x[2, 3] = float("inf")
    y = Int8Matrix(torch.randn(5, 8)).forward(x)
    assert torch.equal(y[0], torch.zeros(5))
    assert not y[1].isfinite().any()
    assert not y[2].isfinite().any()
