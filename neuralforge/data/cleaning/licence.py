"""Which licence a file's text grants, as an SPDX identifier (https://spdx.org/licenses)."""

import re

_TAG = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+-]+(?:\s+(?:AND|OR|WITH)\s+[A-Za-z0-9.+-]+)*)")
_LIMIT = 64_000
_TITLE = 160

# In order: a text that satisfies several is the first. Phrases are lower case with single spaces, and each row
# holds what its licence says and its neighbours do not.
_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0-only", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0-only", ("gnu lesser general public license", "version 3")),
    ("LGPL-2.1-only", ("gnu lesser general public license", "version 2.1")),
    ("LGPL-2.0-only", ("gnu library general public license", "version 2")),
    ("GPL-3.0-only", ("gnu general public license", "version 3")),
    ("GPL-2.0-only", ("gnu general public license", "version 2")),
    ("MPL-2.0", ("mozilla public license", "2.0")),
    ("EPL-2.0", ("eclipse public license", "v 2.0")),
    ("EPL-1.0", ("eclipse public license", "v 1.0")),
    ("EUPL-1.2", ("european union public licence", "1.2")),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("BSL-1.0", ("boost software license", "version 1.0")),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("Unlicense", ("free and unencumbered software released into the public domain",)),
    ("WTFPL", ("do what the fuck you want to public license",)),
    ("Zlib", ("this software is provided 'as-is', without any express or implied warranty", "altered source versions")),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("BSD-4-Clause", ("redistribution and use in source and binary forms", "all advertising materials")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "may not be used to endorse")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms", "binary form must reproduce")),
    ("ISC", ("permission to use, copy, modify, and", "distribute this software", "the above copyright notice")),
    ("0BSD", ("permission to use, copy, modify, and/or distribute this software for any purpose",)),
    (
        "MIT-0",
        (
            "permission is hereby granted, free of charge",
            "to permit persons to whom the software is furnished to do so. the software",
        ),
    ),
    ("MIT", ("permission is hereby granted, free of charge", "the above copyright notice and this permission notice")),
)
_TITLES = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "isc license": "ISC",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
}
FILE_NAMES = ("LICENSE", "LICENCE", "COPYING", "UNLICENSE")


def identify_licence(text: str) -> str | None:
    """The SPDX identifier (or, from an SPDX tag, the expression) for a licence text or header; None when unknown.

    The GNU licences are reported as ``-only``: their text cannot say whether "any later version" was granted,
    and the narrower grant is the safe one to assume. A text that mentions two licences is its first match.
    """
    head = text[:_LIMIT]
    tag = _TAG.search(head)
    if tag:
        return tag[1]
    # Comment marks and hard line breaks differ from file to file; words do not.
    plain = re.sub(r"[\s#*/;]+", " ", head.lower()).replace("’", "'").replace("“", '"').strip()
    # By its title first: the text of one licence may speak of another (the GPL of the Affero GPL, the MPL of both).
    for part in (plain[:_TITLE], plain):
        for name, phrases in _PHRASES:
            if all(phrase in part for phrase in phrases):
                return name
    first = next((line.strip().lower() for line in head.splitlines() if line.strip()), "")
    return _TITLES.get(re.sub(r"\s*\(.*?\)", "", first).strip("#=* ."))


def is_licence_file(name: str) -> bool:
    """Is ``name`` (without folders) one under which projects keep their licence, such as ``LICENSE.md``?"""
    stem = name.upper()
    return any(stem == known or stem.startswith((f"{known}.", f"{known}-")) for known in FILE_NAMES)
