"""Shell completion scripts, written from the command tree: complete words without starting Python."""

from dataclasses import dataclass
from typing import Any

from neuralforge.cli.catalogue import CATALOGUE
from neuralforge.cli.shape import load

SHELLS = ("bash", "zsh", "fish", "powershell")
FILES = {
    "bash": "neuralforge.bash",
    "zsh": "_neuralforge",
    "fish": "neuralforge.fish",
    "powershell": "neuralforge.ps1",
}
HEADER = "# Shell completion for neuralforge. Written by `neuralforge completion write`; do not edit."


@dataclass(frozen=True, slots=True)
class Flag:
    """One option: its spellings, the first sentence of its help, whether a value follows."""

    names: tuple[str, ...]
    help: str
    takes_value: bool


@dataclass(frozen=True, slots=True)
class Node:
    """A command or group: its words as typed (``models list``), its help, its flags, the words that may follow."""

    words: tuple[str, ...]
    help: str
    flags: tuple[Flag, ...]
    children: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The words joined by single spaces; empty for the program itself."""
        return " ".join(self.words)


def nodes(program: Any) -> list[Node]:
    """The whole tree, the program first, groups before their commands."""
    top = tuple((entry.name, _first(entry.help)) for entry in CATALOGUE)
    found = [Node((), "", _flags(program), top)]
    for entry in CATALOGUE:
        command = load(entry)
        inner = getattr(command, "commands", {})
        children = tuple((name, _first(child.help)) for name, child in inner.items())
        found.append(Node((entry.name,), _first(entry.help), _flags(command), children))
        found += [Node((entry.name, name), _first(child.help), _flags(child)) for name, child in inner.items()]
    return found


def script(shell: str, program: Any) -> str:
    """The completion script for one of ``SHELLS``."""
    tree = nodes(program)
    return {"bash": _bash, "zsh": _zsh, "fish": _fish, "powershell": _powershell}[shell](tree)


def _flags(command: Any) -> tuple[Flag, ...]:
    flags = []
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            names = (*parameter.opts, *parameter.secondary_opts)
            flags.append(Flag(names, _first(parameter.help), not parameter.is_flag))
    return (*flags, Flag(("-h", "--help"), "Show this message and exit", False))


def _first(help: str | None) -> str:
    """The first paragraph on one line, without its full stop: what the menus of shells show."""
    return " ".join((help or "").split("\n\n")[0].split()).rstrip(".")


def _words(flags: tuple[Flag, ...], *, valued: bool = False) -> list[str]:
    return [name for flag in flags if flag.takes_value or not valued for name in flag.names]


def _single(text: str) -> str:
    """A literal in single quotes for a POSIX-like shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _route(tree: list[Node]) -> tuple[str, str]:
    """Case patterns of the commands, and of the groups whose next word belongs to the path."""
    return "|".join(name for name, _ in tree[0].children), "|".join(n.path for n in tree if n.words and n.children)


def _bash(tree: list[Node]) -> str:
    commands, groups = _route(tree)
    cases = []
    for node in tree:
        children = " ".join(name for name, _ in node.children)
        flags, valued = " ".join(_words(node.flags)), " ".join(_words(node.flags, valued=True))
        cases.append(f'        {node.path or "top"!r}) children="{children}" valued="{valued}"')
        cases.append(f'            flags="{flags}" ;;')
    return "\n".join(
        [
            HEADER,
            "_neuralforge() {",
            '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
            "    local path=top word children= flags= valued= current_is=word IFS=$' \\t\\n'",
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '        case "$path" in',
            f'            top) case "$word" in {commands}) path="$word" ;; esac ;;',
            f'            {groups}) case "$word" in -*) ;; *) path="$path $word" ;; esac ;;',
            "        esac",
            "    done",
            '    case "$path" in',
            *cases,
            "    esac",
            '    case " $valued " in *" $previous "*) children= current_is=value ;; *) current_is=word ;; esac',
            "    if [[ $current_is == word && $current == -* ]]; then",
            '        COMPREPLY=($(compgen -W "$flags" -- "$current"))',
            "    elif [[ $current_is == word && -n $children ]]; then",
            '        COMPREPLY=($(compgen -W "$children" -- "$current"))',
            "    else",
            "        IFS=$'\\n'",
            '        COMPREPLY=($(compgen -f -- "$current"))',
            "        compopt -o filenames 2>/dev/null",
            "    fi",
            "}",
            "complete -F _neuralforge neuralforge",
            "",
        ]
    )


def _zsh(tree: list[Node]) -> str:
    def described(name: str, help: str) -> str:
        return _single(f"{name.replace(':', chr(92) + ':')}:{help.replace(':', chr(92) + ':')}")

    commands, groups = _route(tree)
    cases = []
    for node in tree:
        children = " ".join(described(name, help) for name, help in node.children)
        flags = "\n                ".join(described(name, flag.help) for flag in node.flags for name in flag.names)
        valued = " ".join(_words(node.flags, valued=True))
        cases += [
            f"        {_single(node.path or 'top')})",
            f"            children=({children})",
            f"            valued=({valued})",
            f"            flags=({flags}) ;;",
        ]
    return "\n".join(
        [
            "#compdef neuralforge",
            HEADER,
            "_neuralforge() {",
            "    local route=top word",
            "    local -a children flags valued",
            '    for word in "${(@)words[2,CURRENT-1]}"; do',
            '        case "$route" in',
            f'            top) case "$word" in ({commands}) route="$word" ;; esac ;;',
            f'            ({groups}) case "$word" in (-*) ;; (*) route="$route $word" ;; esac ;;',
            "        esac",
            "    done",
            '    case "$route" in',
            *cases,
            "    esac",
            "    if (( ${valued[(Ie)${words[CURRENT-1]}]} )); then",
            "        _files",
            '    elif [[ "${words[CURRENT]}" == -* ]]; then',
            "        _describe -o option flags",
            "    elif (( $#children )); then",
            "        _describe command children",
            "    else",
            "        _files",
            "    fi",
            "}",
            # Autoloaded from fpath the file is the function's body; sourced it has to register itself.
            'if [[ "$funcstack[1]" == _neuralforge ]]; then',
            '    _neuralforge "$@"',
            "else",
            "    compdef _neuralforge neuralforge",
            "fi",
            "",
        ]
    )


def _fish(tree: list[Node]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    lines = [HEADER, "complete -c neuralforge -e"]
    for node in tree:
        inside = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in node.words)
        here = inside or "__fish_use_subcommand"
        if node.children:
            if node.words:
                names = " ".join(name for name, _ in node.children)
                here = f"{inside}; and not __fish_seen_subcommand_from {names}"
            lines += [
                f"complete -c neuralforge -n {quoted(here)} -f -a {name} -d {quoted(help)}"
                for name, help in node.children
            ]
        for flag in node.flags:
            spelt = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
            value = " -r" if flag.takes_value else ""
            lines.append(f"complete -c neuralforge -n {quoted(here)} {spelt}{value} -d {quoted(flag.help)}")
    return "\n".join([*lines, ""])


def _powershell(tree: list[Node]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    entries = []
    for node in tree:
        shown = [*node.children, *((name, flag.help) for flag in node.flags for name in flag.names)]
        pairs = "\n".join(f"            {quoted(name)} = {quoted(help or name)}" for name, help in shown)
        entries.append(f"        {quoted(node.path)} = [ordered]@{{\n{pairs}\n        }}")
    return "\n".join(
        [
            HEADER,
            "Register-ArgumentCompleter -Native -CommandName neuralforge -ScriptBlock {",
            "    param($wordToComplete, $commandAst, $cursorPosition)",
            "    $tree = @{",
            *entries,
            "    }",
            "    $path = ''",
            "    foreach ($element in ($commandAst.CommandElements | Select-Object -Skip 1)) {",
            "        if ($element.Extent.EndOffset -ge $cursorPosition) { break }",
            '        $next = "$path $element".Trim()',
            "        if ($tree.ContainsKey($next)) { $path = $next }",
            "    }",
            "    $choices = $tree[$path]",
            "    $choices.Keys | Where-Object { $_.StartsWith($wordToComplete) } | ForEach-Object {",
            "        $kind = if ($_.StartsWith('-')) { 'ParameterName' } else { 'ParameterValue' }",
            "        [System.Management.Automation.CompletionResult]::new($_, $_, $kind, $choices[$_])",
            "    }",
            "}",
            "",
        ]
    )
