"""`span`: what it leaves behind."""

from __future__ import annotations

import gc
import weakref

import pytest

import llm_trace


@pytest.mark.usefixtures("store")
def test_a_span_leaves_nothing_behind_in_memory() -> None:
    with llm_trace.span("step") as handle:
        pass
    spec = weakref.ref(handle._spec)
    del handle
    gc.collect()
    assert spec() is None
