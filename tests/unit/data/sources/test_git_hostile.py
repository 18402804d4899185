"""A repository made to run commands in whoever reads it does not get to."""

from pathlib import Path

import pytest

from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.errors import DataError, UserError

CODE = "def area_of_rectangle(width, height):\n    return abs(width) * abs(height)\n"


@pytest.fixture
def trap(tmp_path: Path) -> tuple[str, Path]:
    """A command that leaves a mark, and where the mark would be."""
    mark, script = tmp_path / "mark", tmp_path / "trap.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    script.chmod(0o755)
    return str(script), mark


def test_no_command_of_a_hostile_configuration_runs(history, mine, trap):
    command, mark = trap
    history.write(".gitattributes", "*.py diff=evil filter=evil\n*.png diff\n")
    history.write("a.py", CODE)
    history.write("b.png", b"\0\0" * 500)
    history.commit()
    for name in (
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.smudge",
        "filter.evil.clean",
        "core.fsmonitor",
        "core.pager",
        "pager.log",
        "gpg.program",
        "core.sshCommand",
        "core.askPass",
        "credential.helper",
        "core.editor",
        "core.alternateRefsCommand",
        "uploadpack.packObjectsHook",
    ):
        history.git("config", name, command)
    history.git("config", "log.showSignature", "true")
    history.git("config", "core.hooksPath", str(Path(command).parent))
    history.git("config", "format.pretty", "%H")
    history.git("config", "diff.noprefix", "true")
    history.git("config", "color.ui", "always")
    history.git("config", "diff.context", "9")
    (history.path / ".git/info/attributes").write_text("* diff=evil\n")
    mark.unlink(missing_ok=True)
    mined = mine(history.path)
    assert [example.completion + "\n" for example in mined] == [CODE]
    assert not mark.exists()


def test_a_partial_clone_does_not_fetch_through_its_configuration(history, mine, trap):
    command, mark = trap
    history.write("a.py", CODE)
    history.commit()
    blob = history.git("rev-parse", "HEAD:a.py")
    (history.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::{command}"),
        ("remote.origin.uploadpack", command),
        ("protocol.ext.allow", "always"),
        ("protocol.allow", "always"),
    ):
        history.git("config", name, value)
    with pytest.raises(DataError):
        mine(history.path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "location",
    [
        "--upload-pack=touch mark",
        "-c",
        "ext::sh -c touch% mark",
        "fd::7",
        "ftp://example.org/a.git",
        "ssh://-oProxyCommand=touch/mark",
        "https://-x@example.org/a",
        "https://-evil/a",
    ],
)
def test_locations_that_could_run_commands_are_refused(location):
    with pytest.raises(UserError):
        open_source("git", location, SourceOptions())


def test_a_variable_of_the_environment_does_not_point_git_elsewhere(history, new_history, mine, monkeypatch, trap):
    command, mark = trap
    other = new_history("other")
    other.write("b.py", CODE.replace("area", "perimeter"))
    other.commit()
    history.write("a.py", CODE)
    history.commit()
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", command)
    assert [example.path for example in mine(history.path)] == ["a.py"]
    assert not mark.exists()


def test_passwords_of_a_url_are_not_repeated(mine):
    with pytest.raises(Exception, match="Cannot clone") as caught:
        mine("https://someone:secret-word@localhost:1/a.git")
    assert "secret-word" not in str(caught.value) + caught.value.hint
