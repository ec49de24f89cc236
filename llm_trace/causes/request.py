"""One `why` or `bisect` in a process of its own: `python -m llm_trace.causes.request` reads what is asked.

The functions' code is imported here, never in the process that asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from llm_trace.causes.bisect_api import bisect
from llm_trace.causes.bisect_record import Bisection
from llm_trace.causes.why_api import why
from llm_trace.causes.why_record import Causes
from llm_trace.record import Record
from llm_trace.replays.own_process import answer_once, check_place
from llm_trace.replays.roots import import_function
from llm_trace.stores.duckdb import open_store


class WhyRequest(Record):
    """A call of which the causes are asked; see `why`."""

    asks: Literal["why"] = "why"
    store: str
    functions: tuple[str, ...] = Field(min_length=1)
    """`module:function`, each."""
    span_id: str
    repeats: int
    budget: int


class BisectRequest(Record):
    """Two sides between which the change to blame is asked; see `bisect`."""

    asks: Literal["bisect"] = "bisect"
    store: str
    functions: tuple[str, ...] = Field(min_length=1)
    a: str
    b: str
    metric: str | None
    """The name of a score."""
    budget: int
    words: bool


CauseRequest = Annotated[WhyRequest | BisectRequest, Field(discriminator="asks")]
_REQUEST: TypeAdapter[WhyRequest | BisectRequest] = TypeAdapter(CauseRequest)


class CauseAnswer(Record):
    """What came of a request."""

    causes: Causes | None = None
    bisection: Bisection | None = None
    problem: str | None = None
    """Why there is neither."""


def run_cause_request(request: WhyRequest | BisectRequest) -> CauseAnswer:
    """Find the causes that are asked for.

    Raises:
        LLMTraceError: that cannot be done.
    """
    functions = [import_function(name) for name in request.functions]
    check_place(Path(request.store), ", ".join(request.functions))
    with open_store(request.store) as store:
        if isinstance(request, WhyRequest):
            causes = why(
                request.span_id, store=store, functions=functions, repeats=request.repeats,
                budget=request.budget,
            )  # fmt: skip
            return CauseAnswer(causes=causes)
        bisection = bisect(
            request.a, request.b, store=store, functions=functions, metric=request.metric,
            budget=request.budget, words=request.words,
        )  # fmt: skip
        return CauseAnswer(bisection=bisection)


def _refuse_request(problem: str) -> CauseAnswer:
    return CauseAnswer(problem=problem)


def main() -> None:
    """Read a request from standard input and write the answer to standard output."""
    answer_once(_REQUEST.validate_json, run_cause_request, _refuse_request)


if __name__ == "__main__":
    main()
