"""The examples of docs/attribution.md run and do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import attribution_toys as toys

torch = toys.torch
PAGE = (Path(__file__).parents[2] / "docs" / "attribution.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_first_example_names_the_word_that_matters(capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[0], {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Without '75' this answer is ")
    assert max(lines[1:], key=lambda line: float(line.split()[0])).endswith(" 75")


def test_the_example_of_a_live_model_explains_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(BLOCKS[1], {})
    assert "75" in capsys.readouterr().out.splitlines()[-1]


def test_the_method_of_the_last_example_leaves_one_out() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[-1], names)
    scores = names["mine"](lambda masks: masks @ np.array([1.0, -2.0, 0.5]), 3)
    assert scores.values == pytest.approx(np.array([1.0, -2.0, 0.5]))


def test_the_page_names_every_method_and_verdict() -> None:
    from llm_trace.attribution.methods import registry

    closed = {"smile", "answer_sets", "gsmile_published", "self_report", "proxy"}  # docs/closed-models.md
    assert [name for name in registry.list_methods() if f"`{name}`" not in PAGE and name not in closed] == []
    assert len(BLOCKS) == 4
