"""Continue a prompt with a base model, one's own model, or an adapter."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from neuralforge.errors import DataError, UserError
from neuralforge.runs.events import Emit, Phase, silent

if TYPE_CHECKING:
    from neuralforge.models.base import BaseModel
    from neuralforge.models.sampling import Sampling


@dataclass(slots=True)
class Completion:
    """One completion, complete when it was read to its end.

    Attributes:
        text: what was written, without the prompt.
        prompt_tokens, tokens: read and written. seconds: for both. first: seconds until the first token.
        ended: ``end`` (the model ended the text), ``stop`` (a stop text) or ``length``.
    """

    text: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first: float = 0.0
    ended: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        speed = (
            (self.tokens - 1) / (self.seconds - self.first) if self.tokens > 1 and self.seconds > self.first else 0.0
        )
        return {
            "text": self.text,
            "prompt_tokens": self.prompt_tokens,
            "tokens": self.tokens,
            "ended": self.ended,
            "seconds": round(self.seconds, 3),
            "first_token_seconds": round(self.first, 3),
            "tokens_per_second": round(speed, 2),
        }


@dataclass(frozen=True, slots=True)
class Generator:
    """A loaded model that continues prompts, one at a time."""

    base: BaseModel

    def write(
        self,
        prompt: str,
        into: Completion,
        *,
        max_tokens: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """Pieces of the completion as they are certain; ``into`` is filled on the way.

        Raises:
            UserError: ``max_tokens`` is not positive or a stop is empty.
            DataError: prompt and completion together are longer than the model's context, or there is no prompt.
        """
        from neuralforge.evaluation.completions import decode
        from neuralforge.models.generation import stream, stream_text
        from neuralforge.tokens.encoding import plain_ids

        if max_tokens < 1 or not all(stop):
            raise UserError("At least one token is written, and a stop is not empty.", "See --max-tokens and --stop.")
        tokenizer = self.base.tokenizer
        (ids,) = plain_ids([prompt], tokenizer)
        begin = getattr(tokenizer, "bos_token_id", None)
        if not ids and begin is not None:
            ids = [int(begin)]
        if not ids:
            raise DataError("There is no prompt.", "Give --prompt TEXT.")
        began = time.perf_counter()
        into.prompt_tokens = len(ids)

        def counted() -> Iterator[int]:
            for token in stream(self.base, ids, max_new_tokens=max_tokens, sampling=sampling):
                into.tokens += 1
                into.seconds = time.perf_counter() - began
                into.first = into.first or into.seconds
                yield token
            into.ended = "length" if into.tokens == max_tokens else "end"

        into.ended = "stop"  # unless the tokens run out first
        for piece in stream_text(counted(), partial(decode, self.base), stop):
            into.text += piece
            yield piece
        into.seconds = time.perf_counter() - began


@contextlib.contextmanager
def generator(
    model: str | None = None,
    adapter: str | None = None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    emit: Emit = silent,
) -> Iterator[Generator]:
    """Load what is to write.

    Args:
        model: a base by alias, hub id, folder or GGUF file; the adapter's own base, or the default one, if left out.
        adapter: a package, an unpacked folder, or the name of an installed adapter.

    Raises:
        UserError, DataError, TrustError, RemoteError: it cannot be loaded, or the two do not belong together.
    """
    from neuralforge.evaluation import subject as judged
    from neuralforge.models import load_base_model

    if adapter is not None:
        subject = judged.find(adapter)
        base = judged.load_base(subject, name=model, dtype=dtype, device=device, emit=emit)
        with judged.attached(subject, base):
            yield Generator(base)
        return
    emit(Phase("load", model or "smollm2-135m"))
    yield Generator(load_base_model(model or "smollm2-135m", dtype=dtype, device=device, emit=emit))
