from typing import Any

import pytest

from neuralforge import __version__, errors
from neuralforge.cli import app
from neuralforge.cli.app import EXIT_CODES, build
from neuralforge.cli.catalogue import CATALOGUE, STAGES
from neuralforge.cli.scripts import nodes
from neuralforge.cli.shape import load


def test_version(cli: Any) -> None:
    assert cli("--version").out == f"neuralforge {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_overview_lists_every_command_by_stage(cli: Any, arguments: list[str]) -> None:
    seen = cli(*arguments)
    assert seen.code == 0
    assert all(f"{stage}:" in seen.out for stage in STAGES)
    assert all(entry.help in " ".join(seen.out.split()) for entry in CATALOGUE)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_the_overview_says_what_the_command_says(entry: object) -> None:
    command = load(entry)  # type: ignore[arg-type]
    assert command.help.splitlines()[0] == entry.help  # type: ignore[attr-defined]


def test_every_option_is_explained() -> None:
    unexplained = [(node.path, flag.names) for node in nodes(build()) for flag in node.flags if not flag.help]
    assert not unexplained


def test_a_group_alone_shows_its_help(cli: Any) -> None:
    seen = cli("config")
    assert seen.code == 0
    assert "presets" in seen.out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["trian"], "No such command 'trian'", "Did you mean 'train'"),
        (["--frm"], "No such option: --frm", "neuralforge --help"),
        (["train", "--bsae", "x"], "No such option: --bsae", "--base"),
        (["train", "--rank", "many"], "--rank", "neuralforge train --help"),
        (["train", "--from-git"], "--from-git", "neuralforge train --help"),
        (["config", "sohw"], "No such command 'sohw'", "show"),
        (["doctor", "extra"], "extra", "neuralforge doctor --help"),
    ],
)
def test_wrong_usage_is_one_paragraph(cli: Any, arguments: list[str], message: str, hint: str) -> None:
    seen = cli(*arguments)
    assert seen.code == 2
    assert not seen.out
    first, second = seen.err.splitlines()
    assert first.startswith("Error: ")
    assert message in first
    assert second.startswith(" Hint: ")
    assert hint in second


FAMILIES = [
    errors.NeuralForgeError,
    errors.UserError,
    errors.DataError,
    errors.RunError,
    errors.TrustError,
    errors.RemoteError,
    errors.PrivacyError,
    errors.VerdictError,
    errors.Interrupted,
]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_exit_code_and_is_documented(
    cli: Any, monkeypatch: pytest.MonkeyPatch, family: type[errors.NeuralForgeError]
) -> None:
    def fail(**_: object) -> None:
        raise family("It\nbroke\x1b[31m.", "Do this.")

    monkeypatch.setattr("neuralforge.workflows.doctor.diagnose", fail)
    seen = cli("doctor")
    assert seen.code == family.exit_code
    assert seen.err == "Error: It broke\\x1b[31m.\n Hint: Do this.\n"
    assert f" {family.exit_code} " in EXIT_CODES


def test_debug_shows_where_an_error_came_from(cli: Any) -> None:
    seen = cli("train", "--debug")
    assert seen.code == 2
    assert "Traceback" in seen.err
    assert "Error: There is nothing to train on." in seen.err


def test_a_bug_keeps_its_traceback(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("neuralforge.workflows.doctor.diagnose", fail)
    with pytest.raises(ZeroDivisionError):
        cli("doctor")


def test_control_c_is_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neuralforge.workflows.doctor.diagnose", interrupt)
    assert cli("doctor").code == 130


def test_main_exits_with_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        app.main(["nonsense"])
    assert caught.value.code == 2
