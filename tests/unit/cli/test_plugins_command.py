from typing import Any

import pytest

from neuralforge.plugins import Plugin


def test_broken_plugins_are_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("neuralforge.sources", "evil\x1b[2J", "pkg", "1", "a:b", None, "ImportError: no\nthing")
    good = Plugin("neuralforge.sources", "good", "pkg", "1", "a:b", object(), None)
    found = {"neuralforge.sources": [broken, good], "neuralforge.base_models": []}
    monkeypatch.setattr("neuralforge.plugins.discover", lambda group: iter(found[group]))
    seen = cli("plugins")
    assert seen.code == 0
    assert "evil\\x1b[2J" in seen.out
    assert "ImportError: no\\x0athing" in seen.out
    assert "\x1b" not in seen.out
    listed = cli("plugins", "--json").json
    assert [entry["error"] for entry in listed] == ["ImportError: no\nthing", None]


def test_no_plugins(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuralforge.plugins.discover", lambda group: iter(()))
    assert "No plugins" in cli("plugins").out
