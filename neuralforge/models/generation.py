"""Continue prompts: batched or as a stream, with a key-value cache, greedy unless told otherwise.

One loop serves decoder-only models (prompts padded on the left, so that the newest token is last in every row) and
encoder-decoder models (the prompt goes to the encoder, the decoder starts from its start token). Rows that have
ended leave the batch. With temperature 0 a completion does not depend on what else is in the batch, up to the
rounding of the number format; with one, every prompt draws from a generator of its own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuralforge.errors import DataError, UserError
from neuralforge.models.base import BaseModel, causal
from neuralforge.models.sampling import Chooser, Sampling

if TYPE_CHECKING:
    import torch

OnTokens = Callable[[Mapping[int, int]], None]
GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Writing:
    """How much is written out: ``limit`` examples (0: none), ``tokens`` of each, ``batch`` together.

    Larger batches write faster and need more memory.
    """

    limit: int = 32
    tokens: int = 48
    batch: int = 4


def generate(
    base: BaseModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    stop: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    on_tokens: OnTokens | None = None,
    batch_size: int = 16,
) -> list[list[int]]:
    """Continue each prompt until a stop token, the tokenizer's end of text, or ``max_new_tokens``.

    Args:
        base: the model as it is now; with adapters when ``base.model`` is a PeftModel with adapters enabled.
        prompts: token ids, none empty, of any lengths.
        max_new_tokens: the most tokens a completion may have, for all prompts or for each.
        stop: token ids that end a completion, besides the end of text; they are not part of it.
        sampling: how each token is chosen.
        on_tokens: called after every step with {prompt number: its new token}; an ending token is reported too.
        batch_size: prompts that run together; those of like length do.

    Returns:
        The completions, in the order of the prompts, without prompt and without the ending token.

    Raises:
        DataError: an empty prompt, a token id outside the model, or more tokens than the model has positions for.
        UserError: a negative count or batch size.
    """
    import torch

    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if len(limits) != len(prompts) or min(limits, default=0) < 0 or batch_size < 1:
        raise UserError(
            "Generation needs a max_new_tokens >= 0 for each prompt and batch_size >= 1.",
            "Correct the argument.",
        )
    model = causal(base)
    _check(base, prompts, limits)
    ending = frozenset(stop) | {base.tokenizer.eos_token_id}
    completions: list[list[int]] = [[] for _ in prompts]
    chooser = Chooser(sampling)
    seen = {number: _before(base, prompt) for number, prompt in enumerate(prompts)}
    wanted = (number for number, limit in enumerate(limits) if limit)
    order = sorted(wanted, key=lambda number: (len(prompts[number]), number))
    with torch.inference_mode(), _evaluating(model):
        for first in range(0, len(order), batch_size):
            numbers = order[first : first + batch_size]
            run = _Run.begin(model, [prompts[number] for number in numbers], numbers, base)
            while True:
                fresh = chooser.choose(run.logits_BV, run.numbers, seen)
                if on_tokens is not None:
                    on_tokens(dict(zip(run.numbers, fresh, strict=True)))
                going = [row for row, token in enumerate(fresh) if token not in ending]
                for row in going:
                    completions[run.numbers[row]].append(fresh[row])
                    seen[run.numbers[row]].append(fresh[row])
                going = [row for row in going if len(completions[run.numbers[row]]) < limits[run.numbers[row]]]
                if not going:
                    break
                run.keep(going)
                run.advance([fresh[row] for row in going])
    return completions


def stream(
    base: BaseModel, prompt: Sequence[int], *, max_new_tokens: int, sampling: Sampling = GREEDY
) -> Iterator[int]:
    """The tokens of one completion as they are chosen, up to the tokenizer's end of text (not among them).

    Raises:
        DataError: see ``generate``.
    """
    import torch

    _check(base, [prompt], [max_new_tokens])
    model, chooser, seen = causal(base), Chooser(sampling), {0: _before(base, prompt)}
    with _evaluating(model):
        with torch.inference_mode():
            run = _Run.begin(model, [prompt], [0], base)
        for number in range(max_new_tokens):
            (token,) = chooser.choose(run.logits_BV, run.numbers, seen)
            if token == base.tokenizer.eos_token_id:
                return
            yield token
            seen[0].append(token)
            if number + 1 < max_new_tokens:
                with torch.inference_mode():  # not over the yield: it would be on in the reader's code, too
                    run.advance([token])


def _before(base: BaseModel, prompt: Sequence[int]) -> list[int]:
    """What counts as written before the first new token; an encoder-decoder's answer begins with nothing."""
    return [] if base.encoder_decoder else list(prompt)


def stream_text(
    tokens: Iterable[int], decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()
) -> Iterator[str]:
    """The text of ``tokens`` in pieces, as soon as each is certain; it ends before the first of ``stop`` in it.

    Held back are the bytes of a character that is not whole yet, and what may be the beginning of a stop.

    >>> spell = lambda ids: "".join(map(chr, ids))
    >>> list(stream_text(map(ord, "a = 1\n\nb"), spell, stop=["\n\n"]))
    ['a', ' ', '=', ' ', '1']
    """
    ids: list[int] = []
    text, told = "", 0
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        ends = [at for at in (text.find(one) for one in stop) if at >= 0]
        if ends:
            yield from filter(None, [text[told : min(ends)]])
            return
        whole = text.removesuffix("\ufffd")
        sure = len(whole) - max((_overlap(whole, one) for one in stop), default=0)
        if sure > told:
            yield whole[told:sure]
            told = sure
    if text[told:]:
        yield text[told:]


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of ``text`` with which ``stop`` begins."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def context_length(base: BaseModel) -> int | None:
    """Positions that the model has, prompt and completion together; None where nothing bounds them."""
    config = None if base.encoder_decoder else getattr(causal(base), "config", None)
    found = getattr(config, "context_length", None) or getattr(config, "max_position_embeddings", None)
    return int(found) if found else None


def _check(base: BaseModel, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> None:
    rows = causal(base).get_input_embeddings().num_embeddings
    positions = context_length(base)
    for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        if not prompt:
            raise DataError(f"Prompt {number} is empty.", "Give at least one token; a begin-of-text token will do.")
        if min(prompt) < 0 or max(prompt) >= rows:
            raise DataError(f"Prompt {number} holds a token outside 0..{rows - 1}.", "Is it from another tokenizer?")
        if positions is not None and len(prompt) + limit > positions:
            raise DataError(
                f"Prompt {number} has {len(prompt)} tokens; with {limit} new ones it passes the model's "
                f"{positions} positions.",
                "Shorten the prompt or ask for fewer tokens.",
            )


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout off while generating, and as it was afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@dataclass
class _Run:
    """A batch under way. ``mask_BS`` covers prompt and new tokens (of the encoder's input for encoder-decoders)."""

    model: Any
    numbers: list[int]
    mask_BS: torch.Tensor  # noqa: N815
    lengths_B: torch.Tensor  # noqa: N815
    cache: Any
    logits_BV: torch.Tensor  # noqa: N815
    encoded: Any
    options: dict[str, Any]

    @classmethod
    def begin(cls, model: Any, prompts: list[Sequence[int]], numbers: list[int], base: BaseModel) -> _Run:
        """Read the prompts; afterwards ``logits_BV`` predicts the first new token of each row."""
        import torch

        device = model.get_input_embeddings().weight.device
        width = max(len(prompt) for prompt in prompts)
        pad = base.tokenizer.pad_token_id or 0
        left = not base.encoder_decoder
        ids, mask = [], []
        for prompt in prompts:
            padding = [pad] * (width - len(prompt))
            ids.append([*padding, *prompt] if left else [*prompt, *padding])
            mask.append([0] * len(padding) + [1] * len(prompt) if left else [1] * len(prompt) + [0] * len(padding))
        ids_BT = torch.tensor(ids, device=device)
        mask_BT = torch.tensor(mask, device=device)
        lengths_B = mask_BT.sum(dim=1)
        takes = inspect.signature(model.forward).parameters
        options: dict[str, Any] = {"use_cache": True, "return_dict": True}
        if "logits_to_keep" in takes:
            options["logits_to_keep"] = 1
        if base.encoder_decoder:
            encoded = model.get_encoder()(input_ids=ids_BT, attention_mask=mask_BT, return_dict=True)
            start = model.config.decoder_start_token_id
            start = model.config.pad_token_id if start is None else start
            run = cls(model, numbers, mask_BT, lengths_B, None, ids_BT, encoded, options)
            run._step(decoder_input_ids=torch.full((len(prompts), 1), start, device=device))
            return run
        run = cls(model, numbers, mask_BT, lengths_B, None, ids_BT, None, options)
        inputs = {"input_ids": ids_BT}
        if "position_ids" in takes:
            run.options["position_ids"] = True
            inputs["position_ids"] = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)
        run._step(**inputs)
        return run

    def keep(self, rows: list[int]) -> None:
        """Drop every row that is not listed."""
        import torch

        if len(rows) == len(self.numbers):
            return
        chosen = torch.tensor(rows, device=self.mask_BS.device)
        self.numbers = [self.numbers[row] for row in rows]
        self.mask_BS, self.lengths_B = self.mask_BS[chosen], self.lengths_B[chosen]
        self.cache.batch_select_indices(chosen)
        if self.encoded is not None:
            self.encoded.last_hidden_state = self.encoded.last_hidden_state[chosen]

    def advance(self, tokens: list[int]) -> None:
        """Append one token to every row and predict the next."""
        import torch

        tokens_B1 = torch.tensor(tokens, device=self.mask_BS.device)[:, None]
        if self.encoded is not None:
            self._step(decoder_input_ids=tokens_B1)
            return
        inputs = {"input_ids": tokens_B1}
        if "position_ids" in self.options:
            inputs["position_ids"] = self.lengths_B[:, None]
        self.lengths_B = self.lengths_B + 1
        self.mask_BS = torch.cat([self.mask_BS, torch.ones_like(tokens_B1)], dim=1)
        self._step(**inputs)

    def _step(self, **inputs: torch.Tensor) -> None:
        extra = {key: value for key, value in self.options.items() if key != "position_ids"}
        if self.encoded is not None:
            extra["encoder_outputs"] = self.encoded
        out = self.model(attention_mask=self.mask_BS, past_key_values=self.cache, **extra, **inputs)
        self.cache, self.logits_BV = out.past_key_values, out.logits[:, -1]
