"""docs/bisect.md: its code runs and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_trace.demo import desk

PAGE = (Path(__file__).parents[2] / "docs" / "bisect.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLM_TRACE_STORE", raising=False)
    monkeypatch.setattr(desk, "PROMPTS", dict(desk.PROMPTS))
    code, printed = re.findall(r"```python\n((?:(?!```).)*)```\n\n```\n(.*?)```", PAGE, re.DOTALL)[0]
    exec(code, {})
    assert printed in capsys.readouterr().out
