"""The evaluations, and one of them: each quality with bounds, public against fresh, and what failed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.words import tell_dimension, tell_gap
from llm_trace.rendering.ranges import place_range
from llm_trace.stores.run_tree import read_run_lines
from llm_trace.viewer.page import read_offset
from llm_trace.viewer.runs import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from llm_trace.evaluation.dimensions import Dimension
    from llm_trace.evaluation.evaluation_record import FailedAnswer
    from llm_trace.evaluation.memorisation import MemorisationGap
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

FAILURES = 25
"""Failed answers a page."""


def read_evaluations(store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return the newest runs that are evaluations."""
    from llm_trace.evaluation.evaluation import TAG

    runs = [line.run for line in read_run_lines(store, MOST)]
    return {"evaluations": [run for run in runs if TAG in run["tags"]]}


def read_evaluation_page(store: Store, request: Request) -> dict[str, Any]:
    """Return what an evaluation came to, and its failures from the number `from` on."""
    from llm_trace.evaluation.evaluation import build_evaluation, find_evaluation_run

    evaluation = build_evaluation(store, find_evaluation_run(store, request.path_params["run"]))
    show, begin = request.query_params.get("show", ""), read_offset(request)
    counts = Counter(_name_failure(failure) for failure in evaluation.failures)
    if show and show not in counts:
        raise ConfigurationError(f"nothing failed as {show!r} here: there are {', '.join(counts) or 'none'}")
    failures = [each for each in evaluation.failures if show in ("", _name_failure(each))]
    path = request.url.path.removesuffix(".json")
    return {
        "run": evaluation.run.model_dump(),
        "planned": evaluation.planned,
        "answered": evaluation.answered,
        "confidence": evaluation.confidence,
        "dimensions": [_describe_dimension(each) for each in evaluation.dimensions],
        "gaps": [_describe_gap(each) for each in evaluation.memorisation_gaps],
        "probes": [{**each.model_dump(), "sentence": str(each)} for each in evaluation.bias_probes],
        "calibrations": [{**each.model_dump(), "sentence": str(each)} for each in evaluation.calibrations],
        "tabs": [{"show": name, "count": count, "link": f"{path}?{urlencode({'show': name})}"}
                 for name, count in (("", len(evaluation.failures)), *counts.items())],
        "show": show,
        "failures": _describe_failures(store, failures[begin : begin + FAILURES]),
        "begin": begin,
        "before": _link(path, show, begin - FAILURES) if begin else None,
        "next": _link(path, show, begin + FAILURES) if begin + FAILURES < len(failures) else None,
    }  # fmt: skip


def _name_failure(failure: FailedAnswer) -> str:
    """Return the kind of a failure, and the score that says so."""
    return failure.kind if failure.score is None else f"{failure.score} {failure.kind}"


def _link(path: str, show: str, begin: int) -> str:
    return f"{path}?{urlencode({'show': show, 'from': max(begin, 0)})}"


def _describe_dimension(dimension: Dimension) -> dict[str, Any]:
    places = None
    if dimension.low is not None and dimension.high is not None and 0 <= dimension.value <= 1:
        value, low, high = (2 * end - 1 for end in (dimension.value, dimension.low, dimension.high))
        places = place_range(value, low, high, reach=1.0)
    return {**dimension.model_dump(), "sentence": tell_dimension(dimension), "range": places}


def _describe_gap(gap: MemorisationGap) -> dict[str, Any]:
    bounds = None if gap.low is None or gap.high is None else (gap.low, gap.high)
    return {
        **gap.model_dump(),
        "sentence": tell_gap(gap),
        "range": None if bounds is None else place_range(gap.value, *bounds, reach=1.0),
    }


def _describe_failures(store: Store, failures: Sequence[FailedAnswer]) -> list[dict[str, Any]]:
    calls: dict[str, Call] = {call.span_id: call for call in store.pick([each.span_id for each in failures])}
    return [
        {
            **failure.model_dump(),
            "trace_id": calls[failure.span_id].trace_id,
            "input": calls[failure.span_id].input,
            "output": calls[failure.span_id].output,
            "expected": calls[failure.span_id].metadata.get("expected"),
        }
        for failure in failures
        if failure.span_id in calls
    ]
