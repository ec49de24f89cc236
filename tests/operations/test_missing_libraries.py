"""Without scipy what needs it says which extra brings it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import llm_trace
from llm_trace.errors import MissingExtraError
from llm_trace.operations.gate import Gate
from llm_trace.operations.review_agreement import measure_reviewer_agreement
from llm_trace.operations.rules import RuleSet
from llm_trace.operations.rules_suggestions import suggest_rules
from llm_trace.operations.rules_trial import try_rules
from llm_trace.operations.worth_summary import worth
from llm_trace.stores.duckdb import Store
from tests.helpers.review_toys import record_calls

NEEDING: dict[str, Callable[[Store], object]] = {
    "Gate.fit": lambda store: Gate.fit({}, store=store),
    "worth": worth,
    "measure_reviewer_agreement": measure_reviewer_agreement,
    "suggest_rules": lambda store: suggest_rules(store=store),
    "try_rules": lambda store: try_rules(RuleSet(()), store.calls(), store),
}


@pytest.mark.parametrize("name", list(NEEDING))
def test_without_scipy_the_extra_is_named(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_calls(path, 1)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with llm_trace.open_store(path) as store, pytest.raises(MissingExtraError) as refused:
        NEEDING[name](store)
    assert str(refused.value) == f"{name} needs scipy: pip install 'llm-trace[statistics]'"
