"""A softmax over the tokens that matter: all that the examples contain, and a sample of the others.

A repository uses a small part of a model's vocabulary, and yet the head, the largest matrix of a small model, is
computed for all of it. What the tokens that no example contains add to the softmax's sum is little, and is estimated
here from a few of them, drawn anew for every pass, each standing for as many as were not drawn: importance sampling
of the partition function (Bengio & Senécal 2008; Jean et al. 2015, arXiv 1412.2007), with the share of it that counts
computed exactly. What validates or judges always takes the whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralforge.models.base import BaseModel, causal
from neuralforge.tokens.encoding import Encoded
from neuralforge.training.objective import completion_loss

# Tokens that stand for those which no example contains.
SAMPLES = 4096
# Sampling is worth its while where it leaves at most this share of the vocabulary.
WORTH = 0.5


@dataclass(frozen=True, slots=True)
class SampledVocabulary:
    """Tokens ``known`` to the examples [K], the ``rest`` [R], each token's place in ``known`` [V], and how many of
    the rest are drawn."""

    known: Tensor
    rest: Tensor
    place: Tensor
    samples: int

    def loss(self, hidden_SD: Tensor, weight_VD: Tensor, targets_S: Tensor, seed: int) -> Tensor:
        """An estimate of ``completion_loss`` for targets in ``known``, with its gradient; ``seed`` decides the draw."""
        generator = torch.Generator().manual_seed(seed)
        drawn = self.rest[torch.randperm(len(self.rest), generator=generator)[: self.samples]]
        rows = torch.cat((self.known, drawn))
        offsets = hidden_SD.new_zeros(len(rows))
        offsets[len(self.known) :] = math.log(len(self.rest) / self.samples)
        few_UD = weight_VD[rows.to(weight_VD.device)]
        return completion_loss(hidden_SD, few_UD, self.place[targets_S.cpu()].to(targets_S.device), offsets)


def sampled(base: BaseModel, learned: Iterable[Encoded]) -> SampledVocabulary | None:
    """For training ``base`` on ``learned``; None where its head is learned too, or where it would save too little."""
    head = causal(base).get_output_embeddings()
    if base.encoder_decoder or head is None or head.weight.requires_grad:
        return None
    size = head.weight.shape[0]
    met = torch.zeros(size, dtype=torch.bool)
    for one in learned:
        met[torch.from_numpy(one.ids[one.loss]).long()] = True
    known, rest = met.nonzero().squeeze(1), (~met).nonzero().squeeze(1)
    if len(known) + SAMPLES > WORTH * size:
        return None
    place = torch.full((size,), -1)
    place[known] = torch.arange(len(known))
    return SampledVocabulary(known, rest, place, SAMPLES)
