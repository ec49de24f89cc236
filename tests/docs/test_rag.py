"""docs/rag.md: its example runs and finds the chunk that was used, which the retriever ranked low."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import llm_trace

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rag.md").read_text()


def test_the_example_finds_the_chunk_that_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLM_TRACE_STORE", raising=False)
    example = runpy.run_path(str(ROOT / "examples" / "rag.py"))
    why = example["main"]()
    scores = {segment.name: segment.score for segment in why.segments}
    assert scores == {"note-1": 3.0, "note-2": 2.0, "note-3": 2.0, "note-4": 4.0}
    assert why.segments[int(np.argmax(why.values))].name == "note-2"
    assert why.verdict == "ok"
    out = capsys.readouterr().out
    assert out.splitlines()[:2] == [
        "answer: DENY",
        f"note-2  retriever 2  answer {max(why.values):+6.2f} nats  I bought this lamp 75 days ago.",
    ]
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(block, {"llm_trace": llm_trace})
    assert capsys.readouterr().out.startswith("Chunk note-2 (retriever: 2) makes this answer ")
