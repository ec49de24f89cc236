"""The public names of `llm_trace.attribution`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace import attribution
from llm_trace.attribution import (
    AttributionPolicy,
    Budget,
    Compare,
    Completions,
    Contrast,
    Plan,
    Price,
    Proxied,
    Remote,
    Scores,
    aggregate,
    attribute,
    attribute_async,
    compress,
    interactions,
    measure,
    measure_paraphrase_stability,
    screen,
    self_knowledge,
    training_lines,
)

ROOT = Path(__file__).parents[2]
NAMES: list[Any] = [
    AttributionPolicy,
    Budget,
    Compare,
    Completions,
    Contrast,
    Plan,
    Price,
    Proxied,
    Remote,
    Scores,
    aggregate,
    attribute,
    attribute_async,
    compress,
    interactions,
    measure,
    measure_paraphrase_stability,
    screen,
    self_knowledge,
    training_lines,
]


def test_every_public_name_comes_from_the_package_and_is_one_thing() -> None:
    assert [x.__name__ for x in NAMES] == attribution.__all__
    assert set(attribution.__all__) <= set(dir(attribution))
    assert llm_trace.attribute is attribute
    assert llm_trace.AttributionPolicy is AttributionPolicy


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'llm_trace\.attribution' has no attribute 'atribute'"):
        attribution.atribute


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, llm_trace.attribution\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_docs_teach_imports_from_the_package_alone() -> None:
    pages = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").glob("*.py")),
    ]
    deep = [
        f"{page.name}: {line}"
        for page in pages
        for line in re.findall(r"(?:from|import) llm_trace\.attribution\..*", page.read_text("utf-8"))
    ]
    assert deep == []
