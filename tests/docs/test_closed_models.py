"""The examples of docs/closed-models.md run and do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from llm_trace.attribution.methods import registry

PAGE = (Path(__file__).parents[2] / "docs" / "closed-models.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    assert capsys.readouterr().out.startswith("'12' moves this answer by +")
    assert (names["found"].verdict, names["found"].passes) == ("ok", names["plan"].evaluations)
    assert (tmp_path / "llm_trace" / "desk.sqlite").exists()


def test_the_page_names_the_methods_and_verdicts_of_closed_models() -> None:
    for name in ("smile", "answer_sets", "gsmile_published", "self_report"):
        assert name in registry.list_methods()
        assert f"`{name}`" in PAGE or f'"{name}"' in PAGE
