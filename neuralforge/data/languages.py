"""Which language a file is in, by its name or a script's first line, and what people call each language.

Names follow GitHub Linguist in lower case. ``PROSE`` are formats that people write but that are not programs
(documentation, configuration, data): they are mined only when asked for by name.
"""

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

from neuralforge.errors import UserError

_EXTENSIONS: dict[str, str] = {
    "ada": "adb ads",
    "assembly": "asm s",
    "astro": "astro",
    "batchfile": "bat cmd",
    "c": "c h",
    "c#": "cs csx",
    "c++": "cpp cc cxx c++ hpp hh hxx h++ ipp tpp inl",
    "clojure": "clj cljs cljc",
    "cmake": "cmake",
    "coffeescript": "coffee",
    "common lisp": "lisp lsp cl",
    "crystal": "cr",
    "css": "css",
    "cuda": "cu cuh",
    "cython": "pyx pxd pxi",
    "d": "d",
    "dart": "dart",
    "elixir": "ex exs",
    "elm": "elm",
    "emacs lisp": "el",
    "erlang": "erl hrl",
    "f#": "fs fsi fsx",
    "fortran": "f f90 f95 f03 f08 for",
    "gdscript": "gd",
    "glsl": "glsl vert frag",
    "go": "go",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "haskell": "hs lhs",
    "hcl": "tf hcl tfvars",
    "html": "html htm xhtml jinja jinja2 j2 hbs ejs",
    "java": "java",
    "javascript": "js jsx mjs cjs",
    "julia": "jl",
    "kotlin": "kt kts",
    "less": "less",
    "lua": "lua",
    "makefile": "mk mak",
    "nim": "nim",
    "nix": "nix",
    "objective-c": "m mm",
    "ocaml": "ml mli",
    "pascal": "pas pp dpr",
    "perl": "pl pm t",
    "php": "php phtml",
    "powershell": "ps1 psm1 psd1",
    "prolog": "pro",
    "protocol buffer": "proto",
    "python": "py pyi pyw",
    "r": "r",
    "racket": "rkt",
    "ruby": "rb rake gemspec",
    "rust": "rs",
    "sass": "sass",
    "scala": "scala sc sbt",
    "scheme": "scm ss",
    "scss": "scss",
    "shell": "sh bash zsh ksh fish",
    "solidity": "sol",
    "sql": "sql",
    "starlark": "bzl star",
    "svelte": "svelte",
    "swift": "swift",
    "tcl": "tcl",
    "typescript": "ts tsx mts cts",
    "verilog": "v sv svh vh",
    "vhdl": "vhd vhdl",
    "vim script": "vim",
    "visual basic": "vb bas",
    "vue": "vue",
    "zig": "zig",
    # Written by people, but not programs.
    "asciidoc": "adoc asciidoc",
    "ini": "ini cfg conf properties",
    "json": "json jsonc json5",
    "markdown": "md markdown mdx",
    "org": "org",
    "restructuredtext": "rst",
    "tex": "tex sty bib",
    "text": "txt text",
    "toml": "toml",
    "xml": "xml xsd xsl xslt svg plist",
    "yaml": "yml yaml",
}

PROSE = frozenset(
    ("asciidoc", "ini", "json", "markdown", "org", "restructuredtext", "tex", "text", "toml", "xml", "yaml")
)
PROGRAMMING = frozenset(_EXTENSIONS) - PROSE | {"dockerfile"}
KNOWN = PROGRAMMING | PROSE

_FILE_NAMES: dict[str, str] = {
    "brewfile": "ruby",
    "build": "starlark",
    "build.bazel": "starlark",
    "cmakelists.txt": "cmake",
    "containerfile": "dockerfile",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "gnumakefile": "makefile",
    "jenkinsfile": "groovy",
    "makefile": "makefile",
    "podfile": "ruby",
    "rakefile": "ruby",
    "sconscript": "python",
    "sconstruct": "python",
    "vagrantfile": "ruby",
    "workspace": "starlark",
}

_ALIASES: dict[str, str] = {
    "asm": "assembly",
    "bash": "shell",
    "bat": "batchfile",
    "cpp": "c++",
    "cs": "c#",
    "csharp": "c#",
    "cxx": "c++",
    "docker": "dockerfile",
    "elisp": "emacs lisp",
    "ex": "elixir",
    "fs": "f#",
    "fsharp": "f#",
    "golang": "go",
    "hs": "haskell",
    "jl": "julia",
    "js": "javascript",
    "jsx": "javascript",
    "kt": "kotlin",
    "lisp": "common lisp",
    "make": "makefile",
    "md": "markdown",
    "node": "javascript",
    "objc": "objective-c",
    "objectivec": "objective-c",
    "perl5": "perl",
    "pl": "perl",
    "proto": "protocol buffer",
    "protobuf": "protocol buffer",
    "ps": "powershell",
    "ps1": "powershell",
    "py": "python",
    "python3": "python",
    "rb": "ruby",
    "rs": "rust",
    "rst": "restructuredtext",
    "sh": "shell",
    "terraform": "hcl",
    "tf": "hcl",
    "ts": "typescript",
    "tsx": "typescript",
    "vb": "visual basic",
    "viml": "vim script",
    "yml": "yaml",
    "zsh": "shell",
}

_INTERPRETER = re.compile(r"#![ \t]*\S*/(?:env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*)?([A-Za-z]+)")
_INTERPRETERS: dict[str, str] = {
    **dict.fromkeys(("sh", "bash", "zsh", "ksh", "dash", "ash", "fish"), "shell"),
    **dict.fromkeys(("python", "pypy", "uv"), "python"),
    **dict.fromkeys(("node", "nodejs", "bun"), "javascript"),
    **dict.fromkeys(("deno", "tsx"), "typescript"),
    **dict.fromkeys(("tclsh", "wish", "expect"), "tcl"),
    **{name: name for name in ("ruby", "perl", "php", "lua", "julia", "groovy", "elixir", "swift", "scala")},
    "rscript": "r",
    "pwsh": "powershell",
    "runhaskell": "haskell",
    "escript": "erlang",
}

_BY_EXTENSION = {extension: name for name, listed in _EXTENSIONS.items() for extension in listed.split()}


def script_language(text: str) -> str | None:
    """The language of a script without an ending, by its first line (``#!/usr/bin/env python3``), or None."""
    found = _INTERPRETER.match(text)
    return _INTERPRETERS.get(found[1].lower()) if found else None


def may_be_script(path: str) -> bool:
    """Whether only the first line of a file can say what language it is in: its name has no ending."""
    return "." not in path.rpartition("/")[2] and language_of(path) is None


def common_name(name: str) -> str:
    """The name of a language however it was written, in lower case; one that nobody here knows stays as it is.

    >>> common_name("JS"), common_name(" C++"), common_name("Klingon")
    ('javascript', 'c++', 'klingon')
    """
    plain = name.strip().lower()
    return _ALIASES.get(plain, plain)


@lru_cache(maxsize=65_536)
def language_of(path: str) -> str | None:
    """The language of a file by its name, or None when nothing is known about it.

    >>> language_of("src/App.TSX"), language_of("docker/Dockerfile.dev"), language_of("data.bin")
    ('typescript', 'dockerfile', None)
    """
    name = path.rpartition("/")[2].lower()
    if name in _FILE_NAMES:
        return _FILE_NAMES[name]
    stem, _, extension = name.rpartition(".")
    if not stem:
        return None
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    first = name.partition(".")[0]
    return _FILE_NAMES[first] if first in ("dockerfile", "makefile", "jenkinsfile") else None


def canonical(name: str) -> str:
    """The name of a language however it was written: ``JS`` and ``js`` are ``javascript``.

    Raises:
        UserError: nobody here knows that language; the hint has the nearest names.
    """
    wanted = name.strip().lower()
    if wanted in KNOWN:
        return wanted
    if wanted in _ALIASES:
        return _ALIASES[wanted]
    if wanted.lstrip(".") in _BY_EXTENSION:
        return _BY_EXTENSION[wanted.lstrip(".")]
    near = difflib.get_close_matches(wanted, [*sorted(KNOWN), *sorted(_ALIASES)], n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(sorted(KNOWN))}."
    raise UserError(f"Unknown language {name!r}.", hint)


def chosen_languages(names: Iterable[str] | None) -> frozenset[str] | None:
    """Canonical names for what the user listed, or None when the choice was left open.

    Raises:
        UserError: a name is unknown, or the list is empty.
    """
    if names is None:
        return None
    chosen = frozenset(canonical(part) for name in names for part in name.split(",") if part.strip())
    if not chosen:
        raise UserError("The list of languages is empty.", "Name some, as in --languages java,python,js.")
    return chosen


def language_reason(language: str | None, chosen: frozenset[str] | None) -> str | None:
    """Why a file in ``language`` is left out, or None when it is wanted."""
    if chosen is not None:
        return None if language in chosen else "language not chosen"
    if language is None:
        return "unknown language"
    return "documentation or data" if language in PROSE else None
