"""The loss without all logits, against the loss with them."""

import pytest
import torch
from torch.nn import functional

from neuralforge.training.objective import ROWS, completion_loss, completion_scores


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


SIZES = pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 7])


@SIZES
def test_loss_and_gradient_are_those_of_cross_entropy(rows: int) -> None:
    torch.manual_seed(rows)
    weight, targets = torch.randn(101, 24), torch.randint(0, 101, (rows,))
    one = torch.randn(rows, 24, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    ours = completion_loss(one, weight, targets)
    theirs = functional.cross_entropy(two @ weight.T, targets, reduction="sum")
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    (ours * 0.3).backward()
    (theirs * 0.3).backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-5)


@SIZES
@pytest.mark.parametrize("tied", [True, False])
def test_a_head_that_learns_has_the_gradient_of_cross_entropy(rows: int, tied: bool) -> None:
    """Tied: the same matrix makes the hidden states and reads them."""
    torch.manual_seed(rows)
    targets, ids = torch.randint(0, 101, (2, rows))
    one, mix = torch.randn(101, 24, requires_grad=True), torch.randn(24, 24)
    two = one.detach().clone().requires_grad_()
    for weight, loss in ((one, completion_loss), (two, None)):
        hidden = (weight if tied else weight.detach())[ids] @ mix
        total = (
            loss(hidden, weight, targets)
            if loss
            else functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
        )
        (total * 0.3).backward()
    assert one.grad is not None
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-4)


@SIZES
def test_scores_are_losses_and_likely_tokens(rows: int) -> None:
    torch.manual_seed(rows)
    hidden, weight, targets = torch.randn(rows, 24), torch.randn(101, 24), torch.randint(0, 101, (rows,))
    losses, likely = completion_scores(hidden, weight, targets)
    torch.testing.assert_close(losses, functional.cross_entropy(hidden @ weight.T, targets, reduction="none"))
    assert torch.equal(likely, (hidden @ weight.T).argmax(1))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_a_target_that_is_all_but_impossible_has_a_finite_loss_and_the_right_gradient(kind: torch.dtype) -> None:
    """A confident base is wrong now and then: softmax of the target then underflows, the logarithm must not."""
    weight = torch.eye(4, 8, dtype=kind)
    hidden = torch.zeros(2, 8, dtype=kind)
    hidden[:, 0] = 200.0
    hidden.requires_grad_()
    loss = completion_loss(hidden, weight, torch.tensor([1, 0]))
    assert float(loss.detach()) == pytest.approx(200.0, rel=0.02)
    (grad,) = torch.autograd.grad(loss, hidden)
    torch.testing.assert_close(grad[0, :2].float(), torch.tensor([1.0, -1.0]))
