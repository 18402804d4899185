"""Products with frozen weights in 8-bit integers, for training's forward and backward passes.

A processor with VNNI instructions multiplies int8 twice as fast as bfloat16 and more than four times as fast as
float32, and nearly all work of a LoRA step is products with matrices that never change. Both factors are rounded
to 255 levels: each row of the activations (or of their gradients) by its own largest entry, each row of the weights
by its own. Only weights that are learned need an exact gradient product, and those are LoRA's small ones, which stay
in the compute type; this is what keeps SwitchBack stable (Wortsman et al. 2023, arXiv 2304.13013; row-wise scales
after Dettmers et al. 2022, arXiv 2208.07339). What is judged is never computed this way: adapters are validated and
scored with the weights as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 127
ROWS = 128


class Int8Matrix:
    """A frozen ``weight`` [out, in] as int8 with one scale per output.

    Integer sums are exact, so results do not depend on how the work is cut up. Scales are kept in the weight's own
    type, and entries rounded against the scale as stored: the two agree to the last bit.
    """

    def __init__(self, weight_OI: Tensor) -> None:
        self.values_OI = torch.empty_like(weight_OI, dtype=torch.int8)
        self.scale_O = weight_OI.new_empty(len(weight_OI))
        # Some rows at a time: large temporaries between lasting blocks leave a heap full of holes.
        for start in range(0, len(weight_OI), ROWS):
            rows = slice(start, start + ROWS)
            self.values_OI[rows], scale_R1 = _rows_to_int8(weight_OI[rows])
            self.scale_O[rows] = scale_R1.squeeze(1)
        self.values_IO = self.values_OI.T

    def forward(self, x_NI: Tensor) -> Tensor:
        """x W^T: [N, in] → [N, out]."""
        return _product(x_NI, self.values_IO).mul_(self.scale_O)

    def backward(self, grad_NO: Tensor) -> Tensor:
        """∂ W: [N, out] → [N, in], the gradient for x."""
        return _product(grad_NO * self.scale_O, self.values_OI)


def _product(x_NM: Tensor, values_MK: Tensor) -> Tensor:
    """x times integers, in x's type; some rows at a time, so that what is 32 bits wide on the way stays small."""
    y_NK = x_NM.new_empty(x_NM.shape[0], values_MK.shape[1])
    for x_RM, y_RK in zip(x_NM.split(ROWS), y_NK.split(ROWS), strict=True):
        values_RM, scale_R1 = _rows_to_int8(x_RM)
        y_RK.copy_(torch._int_mm(values_RM, values_MK)).mul_(scale_R1)
    return y_NK


def _rows_to_int8(x_NM: Tensor) -> tuple[Tensor, Tensor]:
    """Entries in -127..127 and each row's scale [N, 1] in x's type, not finite where the row is not."""
    scale_N1 = x_NM.abs().amax(1, keepdim=True).div_(LEVELS).clamp_(min=torch.finfo(x_NM.dtype).tiny)
    inverse_N1 = scale_N1.float().reciprocal()
    return (x_NM * inverse_N1).round_().to(torch.int8), scale_N1
