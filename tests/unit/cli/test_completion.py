import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from neuralforge.cli.app import build
from neuralforge.cli.scripts import FILES, SHELLS, nodes, script

COMPLETIONS = Path(__file__).parents[3] / "completions"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shipped_scripts_are_up_to_date(shell: str) -> None:
    shipped = (COMPLETIONS / FILES[shell]).read_text(encoding="utf-8")
    assert shipped == script(shell, build()), "run: neuralforge completion write completions"


def test_every_command_and_option_is_in_every_script() -> None:
    tree = nodes(build())
    assert len({node.path for node in tree}) == len(tree)
    for shell in SHELLS:
        text = script(shell, build())
        for node in tree:
            assert all(word in text for word in node.words)
            for flag in node.flags:
                assert all((name[2:] if shell == "fish" else name) in text for name in flag.names if len(name) > 2)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train-tokenizer", "train"]),
        (["train", "--from"], ["--from-git"]),
        (["models", ""], ["list", "pull", "show", "remove"]),
        (["models", "list", "--j"], ["--json"]),
        (["train", "--bf16", "--rank", "8", "--bas"], ["--base"]),
        (["--ver"], ["--version"]),
        (["train", "--config", "my s"], ["my settings.yaml"]),
        (["analyze-dataset", "my s"], ["my settings.yaml"]),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_offers(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    (tmp_path / "my settings.yaml").touch()
    code = (
        f'source "{COMPLETIONS / FILES["bash"]}"; COMP_WORDS=(neuralforge "$@"); COMP_CWORD=$#; COMPREPLY=(); '
        '_neuralforge; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", code, "bash", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == offered


@pytest.mark.parametrize(("shell", "program"), [("zsh", "zsh"), ("fish", "fish")])
def test_other_shells_can_parse_their_script(shell: str, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    subprocess.run([program, "-n", str(COMPLETIONS / FILES[shell])], check=True)


def test_show_knows_the_present_shell(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert cli("completion", "show").out == script("fish", build())
    monkeypatch.setenv("SHELL", "/bin/csh")
    seen = cli("completion", "show")
    assert seen.code == 2
    assert "bash, zsh, fish, powershell" in seen.err


@pytest.mark.parametrize("shell", SHELLS)
def test_install_writes_one_file_and_replaces_only_its_own(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str
) -> None:
    person = tmp_path / "person"
    monkeypatch.setattr(Path, "home", lambda: person)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert cli("completion", "install", shell).code == 0
    (written,) = [path for path in person.rglob("*") if path.is_file()]
    assert written.read_text(encoding="utf-8") == script(shell, build())
    assert cli("completion", "install", shell).code == 0
    written.write_text("mine", encoding="utf-8")
    assert cli("completion", "install", shell).code == 2
    assert written.read_text(encoding="utf-8") == "mine"
    assert cli("completion", "install", shell, "--force").code == 0
    assert written.read_text(encoding="utf-8") != "mine"
