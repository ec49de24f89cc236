"""A remote model, opened to be asked many prompts at once."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core.value import Budget
from llm_trace.attribution.remote.answers import Answers
from llm_trace.attribution.remote.client import Caller
from llm_trace.attribution.remote.event_loop import Bridge
from llm_trace.attribution.remote.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llm_trace.attribution.remote.model import Remote


@contextmanager
def open_asker(
    far: Remote, function: Any, *, budget: Budget | None = None, cache: str | Path | None = None
) -> Iterator[Caller]:
    """Yield what asks `function` of a remote model, within a budget, answers kept under `cache`."""
    with ExitStack() as stack:
        answers = None
        if cache is not None:
            answers = Answers(cache, {"model": far.label, "params": dict(far.params)})
            stack.callback(answers.close)
        ledger = Ledger(budget or Budget(), far.price, far.max_output_tokens)
        caller = Caller(far, function, ledger, stack.enter_context(Bridge()), answers=answers)
        stack.callback(caller.close)
        yield caller
