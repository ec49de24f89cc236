"""docs/provenance.md: its example runs and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "provenance.md").read_text()
NUMBER = re.compile(r"[+-]\d+\.\d")


def test_the_example_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = re.findall(r"```(?:python)?\n(.*?)```", PAGE, re.DOTALL)[:2]
    exec(code, {})
    printed, expected = capsys.readouterr().out.splitlines(), shown.splitlines()
    for line, example in zip(printed[:3], expected[:3], strict=True):
        assert NUMBER.sub("", line) == NUMBER.sub("", example)
        numbers = [float(number) for number in NUMBER.findall(line)]
        assert numbers == pytest.approx([float(number) for number in NUMBER.findall(example)], abs=0.11)
    start = "This answer is made "
    assert printed[3].startswith(start)
    assert expected[3].startswith(start)
