"""One view of any base model: the loss and the scores of a micro-batch, adapter on or off.

``open_network`` picks the fastest that computes the same function: ``FusedNetwork`` for Llama-shaped decoders on the
CPU with plain or rank-stabilised LoRA, ``GenericNetwork`` for every other model, device, dropout or DoRA.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from neuralforge.models.base import BaseModel, causal
from neuralforge.tokens.batching import MicroBatch
from neuralforge.training import fused_llama
from neuralforge.training.objective import completion_loss, completion_scores, logits_scores
from neuralforge.training.vocabulary import SampledVocabulary

FUSED_TYPES = ("llama", "mistral", "qwen2", "arbor")


class Network(Protocol):
    """What the loop and the judges ask of a model.

    ``concurrent`` says whether several threads may compute at once; ``depth`` is the number of layers below the
    lowest adapted one, whose activations never change, and 0 where that is not made use of.
    """

    concurrent: bool
    depth: int
    dtype: torch.dtype

    def refresh(self) -> None:
        """Take over the adapter's present weights; call after each optimiser step."""

    def frozen(self, batch: MicroBatch) -> Tensor:
        """Activations [N, D] that enter the lowest adapted layer."""

    def loss(self, batch: MicroBatch, below: Tensor | None = None) -> Tensor:
        """Σ negative log-likelihood in nats over the supervised tokens, differentiable, adapter on."""

    def scores(self, batch: MicroBatch, adapt: bool, below: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Per supervised token: negative log-likelihood [S] in nats, and the most likely token [S]."""


def open_network(base: BaseModel, int8: bool = False, vocabulary: SampledVocabulary | None = None) -> Network:
    """The fastest network for ``base`` as it is now, adapters included.

    With ``int8``, ``loss`` and its gradient multiply with the frozen weights in 8-bit integers where the network can
    (``training.int8``). With ``vocabulary``, a loss under a frozen head is estimated on it. ``scores`` does neither.
    """
    return FusedNetwork(base, int8, vocabulary) if fusible(base) else GenericNetwork(base, vocabulary)


def fusible(base: BaseModel) -> bool:
    """Whether ``base``, as it is now, computes what ``FusedNetwork`` computes."""
    model = causal(base)
    config = model.config
    if base.encoder_decoder or model.device.type != "cpu" or getattr(config, "model_type", "") not in FUSED_TYPES:
        return False
    if getattr(config, "hidden_act", "") != "silu" or getattr(config, "mlp_bias", False):
        return False
    window = getattr(config, "sliding_window", None)
    if window is not None and getattr(config, "use_sliding_window", True):
        return False
    if config.model_type == "llama" and getattr(config, "attention_bias", False):
        return False
    if getattr(config, "attention_dropout", 0) or getattr(config, "dropout", 0):
        return False
    if any(one.requires_grad and "lora_" not in name for name, one in model.named_parameters()):
        return False  # the hand-written layers have no gradient for the model's own weights
    weights = {type(parameter) for parameter in model.parameters()}
    if not weights <= {nn.Parameter} or model.get_output_embeddings().bias is not None:
        return False
    for settings in getattr(base.model, "peft_config", {}).values():
        plain = settings.lora_dropout == 0 and not settings.use_dora and settings.bias == "none"
        if not plain or settings.modules_to_save:
            return False
    names = {name.rpartition(".")[2] for name, m in model.named_modules() if hasattr(m, "lora_A")}
    return names <= {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def _loss(
    hidden_SD: Tensor, weight_VD: Tensor, targets_S: Tensor, seed: int, vocabulary: SampledVocabulary | None
) -> Tensor:
    if vocabulary is None:
        return completion_loss(hidden_SD, weight_VD, targets_S)
    return vocabulary.loss(hidden_SD, weight_VD, targets_S, seed)


class FusedNetwork:
    """Llama-shaped decoder over packed tokens; see ``fused_llama``."""

    concurrent = True

    def __init__(self, base: BaseModel, int8: bool = False, vocabulary: SampledVocabulary | None = None) -> None:
        model = causal(base)
        inner, config = model.model, model.config
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        shape = fused_llama.Shape(heads, config.num_key_value_heads, size, config.rms_norm_eps)
        self.embed = inner.embed_tokens.weight.data
        self.dtype = self.embed.dtype
        self.rotary = inner.rotary_emb
        self.layers = [fused_llama.Layer(layer, shape, int8) for layer in inner.layers]
        self.norm = inner.norm
        self.head = model.get_output_embeddings().weight.data
        self.vocabulary = vocabulary
        adapted = [index for index, layer in enumerate(self.layers) if layer.parameters]
        self.depth = adapted[0] if adapted else 0
        self.refresh()

    def refresh(self) -> None:
        """Take over the adapter's present weights."""
        for layer in self.layers:
            layer.refresh()

    @torch.no_grad()
    def frozen(self, batch: MicroBatch) -> Tensor:
        """Activations [N, D] that enter the lowest adapted layer, filling rows included."""
        where = self._layout(batch)
        filling = fused_llama.rounded(batch.tokens, fused_llama.ROW_STEP) - batch.tokens
        x_ND: Tensor = self.embed[nn.functional.pad(batch.ids, (0, filling))]
        for layer in self.layers[: self.depth]:
            x_ND = layer(x_ND, where, adapt=False)
        return x_ND

    def loss(self, batch: MicroBatch, below: Tensor | None = None) -> Tensor:
        """Σ negative log-likelihood in nats over the supervised tokens, differentiable, adapter on."""
        return _loss(self._hidden(batch, True, below), self.head, batch.targets, batch.seed, self.vocabulary)

    @torch.no_grad()
    def scores(self, batch: MicroBatch, adapt: bool, below: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Per supervised token: negative log-likelihood [S] in nats, and the most likely token [S]."""
        return completion_scores(self._hidden(batch, adapt, below), self.head, batch.targets)

    def _layout(self, batch: MicroBatch) -> fused_llama.Layout:
        return fused_llama.layout(batch.lengths, self.rotary, self.embed.dtype)

    def _hidden(self, batch: MicroBatch, adapt: bool, below: Tensor | None) -> Tensor:
        x_ND = self.frozen(batch) if below is None else below
        where = self._layout(batch)
        for layer in self.layers[self.depth :]:
            x_ND = layer(x_ND, where, adapt)
        out: Tensor = self.norm(x_ND[batch.rows])
        return out


class GenericNetwork:
    """Any transformers decoder or encoder-decoder, padded, under autograd and PEFT's own modules."""

    concurrent = False
    depth = 0

    def __init__(self, base: BaseModel, vocabulary: SampledVocabulary | None = None) -> None:
        self.base, self.vocabulary = base, vocabulary
        self.model: Any = base.model
        self.inner = causal(base)
        self.device, self.dtype = self.inner.device, self.inner.dtype
        tokenizer = base.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (tokenizer.eos_token_id or 0)
        self.head_only = not base.encoder_decoder and self._head_is_plain()

    def refresh(self) -> None:
        """PEFT's modules compute with the optimiser's own tensors."""

    def frozen(self, batch: MicroBatch) -> Tensor:
        """Not made use of here (``depth`` is 0)."""
        raise AssertionError("a generic network has no frozen prefix")

    def loss(self, batch: MicroBatch, below: Tensor | None = None) -> Tensor:
        """Σ negative log-likelihood in nats over the supervised tokens, differentiable, adapter on."""
        targets = batch.targets.to(self.device)
        if self.head_only:
            head = self.inner.get_output_embeddings()
            if head.bias is None and type(head) is nn.Linear:
                return _loss(self._hidden(batch), head.weight, targets, batch.seed, self.vocabulary)
        return nn.functional.cross_entropy(self._logits(batch).float(), targets, reduction="sum").double()

    @torch.no_grad()
    def scores(self, batch: MicroBatch, adapt: bool, below: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Per supervised token: negative log-likelihood [S] in nats, and the most likely token [S]."""
        with self._adapter(adapt):
            losses, likely = logits_scores(self._logits(batch).float(), batch.targets.to(self.device))
        return losses.cpu(), likely.cpu()

    @contextlib.contextmanager
    def _adapter(self, on: bool) -> Iterator[None]:
        with contextlib.nullcontext() if on or not hasattr(self.model, "peft_config") else self.model.disable_adapter():
            yield

    def _padded(self, batch: MicroBatch) -> tuple[Tensor, Tensor, Tensor]:
        """ids [B, T] padded on the right, their mask, and the supervised rows as indices into B·T."""
        longest = max(batch.lengths)
        count = len(batch.lengths)
        columns = torch.arange(longest)
        mask = columns < torch.tensor(batch.lengths).unsqueeze(1)
        ids = torch.full((count, longest), self.pad, dtype=torch.long)
        ids[mask] = batch.ids
        rows = mask.flatten().nonzero().squeeze(1)[batch.rows]
        return ids.to(self.device), mask.long().to(self.device), rows.to(self.device)

    def _hidden(self, batch: MicroBatch) -> Tensor:
        ids, mask, rows = self._padded(batch)
        backbone = getattr(self.inner, self.inner.base_model_prefix)
        hidden: Tensor = backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return hidden.flatten(0, 1)[rows]

    def _logits(self, batch: MicroBatch) -> Tensor:
        logits: Tensor
        if self.base.encoder_decoder:
            return self._pair_logits(batch)
        if self.head_only:
            logits = self.inner.get_output_embeddings()(self._hidden(batch))
            return logits
        ids, mask, rows = self._padded(batch)
        logits = self.inner(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return logits.flatten(0, 1)[rows]

    def _pair_logits(self, batch: MicroBatch) -> Tensor:
        """Logits [S, V] of an encoder-decoder; the decoder is fed the target shifted right by its start token."""
        parts = batch.ids.split(list(batch.lengths))
        sources = [part[:cut] for part, cut in zip(parts, batch.sources, strict=True)]
        targets = [part[cut:] for part, cut in zip(parts, batch.sources, strict=True)]
        ids = nn.utils.rnn.pad_sequence(sources, batch_first=True, padding_value=self.pad)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in sources], batch_first=True)
        begin = self.inner.config.decoder_start_token_id
        begin = self.pad if begin is None else begin
        shifted = [torch.cat((one.new_tensor([begin]), one[:-1])) for one in targets]
        fed = nn.utils.rnn.pad_sequence(shifted, batch_first=True, padding_value=self.pad)
        out = self.inner(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            decoder_input_ids=fed.to(self.device),
            use_cache=False,
        ).logits
        real = nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in targets], batch_first=True).bool()
        logits: Tensor = out[real.to(self.device)]
        return logits

    @torch.no_grad()
    def _head_is_plain(self) -> bool:
        """Whether head(last hidden state) is all there is to the logits: tried, not assumed."""
        head = self.inner.get_output_embeddings()
        backbone = getattr(self.inner, self.inner.base_model_prefix, None)
        if head is None or backbone is None or backbone is self.inner:
            return False
        ids = torch.arange(4, device=self.device).unsqueeze(0)
        was_training = self.inner.training
        self.inner.eval()
        try:
            whole = self.inner(input_ids=ids, use_cache=False).logits
            parts = head(backbone(input_ids=ids, use_cache=False).last_hidden_state)
        except (TypeError, AttributeError):
            return False
        finally:
            self.inner.train(was_training)
        return whole.shape == parts.shape and bool(torch.allclose(whole.float(), parts.float(), rtol=1e-3, atol=1e-3))
