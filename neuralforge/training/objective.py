"""Cross-entropy on the completion's positions only, without ever holding all logits.

The head of a small model is its largest matrix (SmolLM2-135M: 49,152 x 576 of 135 M parameters). Computing it only
where there is loss, some rows at a time, with the gradient formed in place, is what "Liger" and "Cut
Cross-Entropy" kernels do on GPUs (arXiv 2410.10989, arXiv 2411.09009); this is that idea in plain PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Rows whose logits are computed together, and what a last few are filled up to a multiple of.
ROWS, ROW_STEP = 128, 32


class _CompletionLoss(torch.autograd.Function):
    """Σ −log softmax(h W^T + o)[target] over the rows of h [S, D]; a gradient for W [V, D] only where it learns.

    Probabilities keep the compute type: in bf16 the rounding of a logit (2^-8 of its size) outweighs theirs.
    """

    @staticmethod
    def forward(ctx: Any, hidden_SD: Tensor, weight_VD: Tensor, targets_S: Tensor, offsets_V: Tensor | None) -> Tensor:
        total = hidden_SD.new_zeros((), dtype=torch.float64)
        grad_SD = weight_VD[targets_S].neg_()
        wide = torch.promote_types(weight_VD.dtype, torch.float32)
        grad_VD = torch.zeros_like(weight_VD, dtype=wide) if ctx.needs_input_grad[1] else None
        for start in range(0, hidden_SD.shape[0], ROWS):
            rows = slice(start, start + ROWS)
            part = hidden_SD[rows]
            missing = -len(part) % ROW_STEP
            likely = _logits(torch.nn.functional.pad(part, (0, 0, 0, missing)), weight_VD, offsets_V)
            torch.softmax(likely, dim=1, out=likely)  # the logits are the largest thing in memory: no second copy
            chosen = likely[: len(part)].gather(1, targets_S[rows].unsqueeze(1))
            lost = chosen.squeeze(1) < torch.finfo(chosen.dtype).tiny  # underflowed: go by the logits instead
            total -= chosen[~lost].double().log_().sum()
            if bool(lost.any()):
                losses, _ = logits_scores(_logits(part[lost], weight_VD, offsets_V).float(), targets_S[rows][lost])
                total += losses.double().sum()
            # ∂/∂h = Σ_v p_v W_v − W_target
            grad_SD[rows] += (likely @ weight_VD)[: len(part)]
            if grad_VD is not None:  # ∂/∂W = Σ_s (p_s − e_target) h_s
                wrong = likely[: len(part)]
                wrong.scatter_add_(1, targets_S[rows].unsqueeze(1), wrong.new_full((len(part), 1), -1))
                grad_VD += wrong.T @ part
        ctx.save_for_backward(*((grad_SD,) if grad_VD is None else (grad_SD, grad_VD)))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad_SD, *grad_VD = (grad.mul(grads[0].to(grad.dtype)) for grad in ctx.saved_tensors)
        return grad_SD, grad_VD[0].to(grad_SD.dtype) if grad_VD else None, None, None


def _logits(hidden_SD: Tensor, weight_VD: Tensor, offsets_V: Tensor | None) -> Tensor:
    return hidden_SD @ weight_VD.T if offsets_V is None else torch.addmm(offsets_V, hidden_SD, weight_VD.T)


def completion_loss(hidden_SD: Tensor, weight_VD: Tensor, targets_S: Tensor, offsets_V: Tensor | None = None) -> Tensor:
    """Summed negative log-likelihood in nats (fp64 scalar), differentiable in ``hidden_SD`` and ``weight_VD``.

    ``offsets_V`` are added to the logits.
    """
    loss: Tensor = _CompletionLoss.apply(  # type: ignore[no-untyped-call]
        hidden_SD, weight_VD, targets_S, offsets_V
    )
    return loss


def completion_scores(hidden_SD: Tensor, weight_VD: Tensor, targets_S: Tensor) -> tuple[Tensor, Tensor]:
    """Per row: negative log-likelihood of the target in nats [S] fp32, and the most likely token [S]."""
    losses, predicted = [], []
    for start in range(0, hidden_SD.shape[0], ROWS // 2):  # fp32 logits beside those of the compute type
        rows = slice(start, start + ROWS // 2)
        logits = (hidden_SD[rows] @ weight_VD.T).float()
        one, two = logits_scores(logits, targets_S[rows])
        losses.append(one)
        predicted.append(two)
    return torch.cat(losses), torch.cat(predicted)


def logits_scores(logits_SV: Tensor, targets_S: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood [S] in nats and arg max [S] of given logits."""
    likely = logits_SV.argmax(dim=1)
    chosen = logits_SV.gather(1, targets_S.unsqueeze(1)).squeeze(1)
    return logits_SV.logsumexp(dim=1) - chosen, likely
