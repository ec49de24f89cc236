"""docs/evaluation.md: its code runs and prints what it says, and its scenario file is one."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from llm_trace.evaluation import load_scenarios

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLM_TRACE_STORE", raising=False)
    code, table = re.findall(r"```python\n((?:(?!```).)*)```\n\n```\n(.*?)```", PAGE, re.DOTALL)[number]
    exec(code, {})
    assert table in capsys.readouterr().out


def test_the_scenario_file_is_read_and_makes_every_variant(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "benchmark.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    path = tmp_path / "sub" / "scenarios.yaml"
    path.parent.mkdir()
    path.write_text(block)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        instances = load_scenarios(path)[0].make_instances(5)
    assert {each.variant for each in instances} == {"fresh", "preserved", "changed", "swapped", "public"}
    assert all(each.decisive for each in instances if each.variant == "fresh")
