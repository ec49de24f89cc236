"""Names that packages give are what they say, whatever of the package was imported before."""

from __future__ import annotations

import importlib
import pkgutil

import pytest


@pytest.mark.parametrize(
    "package",
    [
        "llm_trace",
        "llm_trace.attribution",
        "llm_trace.causes",
        "llm_trace.evaluation",
        "llm_trace.operations",
        "llm_trace.semconv",
    ],
)
def test_no_module_takes_the_place_of_a_public_name(package: str) -> None:
    module = importlib.import_module(package)
    modules = {info.name for info in pkgutil.iter_modules(module.__path__)}
    assert modules & set(module.__all__) == set()
