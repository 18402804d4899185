import json
from pathlib import Path
from typing import Any

import pytest
from neuralforge_notebooks import source as source_module
from neuralforge_notebooks.notebook import BadNotebook, parse_notebook
from neuralforge_notebooks.source import open_source

from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions
from neuralforge.errors import DataError
from neuralforge.runs.events import silent


def _notebook(*sources: str | list[str], language: str = "python") -> dict[str, Any]:
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "source": "# A title"}]
    cells += [{"cell_type": "code", "source": source, "outputs": [{"data": "x" * 50}]} for source in sources]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"language_info": {"name": language}}, "cells": cells}


def _mine(root: Path, **options: Any) -> tuple[list[Example], Funnel]:
    funnel = Funnel()
    return list(open_source(str(root), SourceOptions(**options)).examples(funnel, silent)), funnel


def test_cells_become_examples_with_their_neighbours_around(tmp_path: Path) -> None:
    content = _notebook(["import os\n", "import sys\n"], "%matplotlib inline\nx = os.name\n", "print(x)")
    (tmp_path / "a b.ipynb").write_text(json.dumps(content))
    examples, funnel = _mine(tmp_path)
    assert [example.completion for example in examples] == ["import os\nimport sys", "x = os.name", "print(x)"]
    whole = "import os\nimport sys\n\nx = os.name\n\nprint(x)"
    for example in examples:
        assert example.prefix + example.completion + example.suffix == whole
        assert example.offset == len(example.prefix)
        assert (example.path, example.language, example.kind) == ("a b.ipynb", "python", "file")
    assert (funnel.seen, funnel.kept) == (3, 3)


def test_orders_other_languages_and_empty_cells_are_left_out() -> None:
    content = _notebook("!pip install x", "%%bash\nls -l", "   ", "%%time\nwork()", "help(x)\nx?", {})  # type: ignore[arg-type]
    content["cells"].pop()
    assert parse_notebook(json.dumps(content).encode()).cells == ("work()", "help(x)")


def test_the_old_format_is_read() -> None:
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1"]}]}]}
    assert parse_notebook(json.dumps(old).encode()).cells == ("a = 1",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not a notebook"),
        (b"{}", "not a notebook"),
        (b'{"nbformat": 4}', "no cells"),
        (b'{"nbformat": 4, "cells": {}}', "no cells"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 1}]}', "a cell that is not text"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1]}]}', "a cell that is not text"),
        (b'{"nbformat": 4, "cells": [' + b"0," * 5_001 + b"0]}", "too many cells"),
    ],
)
def test_bad_notebooks_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadNotebook, match=reason):
        parse_notebook(content)
    (tmp_path / "bad.ipynb").write_bytes(content)
    (tmp_path / "good.ipynb").write_text(json.dumps(_notebook("a = 1")))
    with pytest.raises(DataError, match=r"bad\.ipynb"):
        _mine(tmp_path)
    examples, funnel = _mine(tmp_path, skip_bad=True)
    assert len(examples) == 1
    assert funnel.dropped == {f"bad notebook: {reason}": 1}
    assert funnel.seen == funnel.kept + funnel.dropped.total()


def test_links_and_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside.ipynb"
    outside.write_text(json.dumps(_notebook("secret = 1")))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.ipynb").symlink_to(outside)
    (folder / "large.ipynb").write_text(json.dumps(_notebook("a = 1" * 1_000)))
    (folder / "small.ipynb").write_text(json.dumps(_notebook("b = 2")))
    monkeypatch.setattr(source_module, "MAX_NOTEBOOK", 2_000)
    examples, funnel = _mine(folder)
    assert [example.completion for example in examples] == ["b = 2"]
    assert funnel.dropped == {"symbolic link": 1, "file too large": 1}


def test_options_narrow_what_is_taken(tmp_path: Path) -> None:
    (tmp_path / "p.ipynb").write_text(json.dumps(_notebook("a = 1", "b = 2")))
    (tmp_path / "r.ipynb").write_text(json.dumps(_notebook("c <- 3", language="R")))
    assert [example.language for example in _mine(tmp_path, languages=("r",))[0]] == ["r"]
    assert len(_mine(tmp_path, max_examples=1)[0]) == 1
    assert {example.path for example in _mine(tmp_path, paths=("p*",))[0]} == {"p.ipynb"}


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no notebook"):
        _mine(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(tmp_path / "none"), SourceOptions())
