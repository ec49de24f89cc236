"""Arguments are bound by name as `inspect` binds them, over random signatures; values stay untouched."""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llm_trace import trace
from llm_trace.capture.binding import build_binder

KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
NAMES = list("abcdefgh")


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """A function with a random signature that returns its local variables."""
    groups = [draw(st.integers(0, 2)) for _ in KINDS]
    names = iter(NAMES)
    parameters: list[inspect.Parameter] = []
    has_default = False
    for kind, count in zip(KINDS, groups, strict=True):
        if kind is inspect.Parameter.KEYWORD_ONLY:
            has_default = False
            if draw(st.booleans()):
                parameters.append(inspect.Parameter("rest", inspect.Parameter.VAR_POSITIONAL))
        for _ in range(count):
            wants_default = draw(st.booleans())
            has_default = wants_default or (has_default and kind is not inspect.Parameter.KEYWORD_ONLY)
            default = draw(st.integers()) if has_default else inspect.Parameter.empty
            parameters.append(inspect.Parameter(next(names), kind, default=default))
    if draw(st.booleans()):
        parameters.append(inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD))

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.Signature(parameters).bind(*args, **kwargs)
        return bound.args, bound.kwargs

    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


CALLS = st.tuples(
    st.lists(st.integers(), max_size=6),
    st.dictionaries(st.sampled_from([*NAMES, "x", "rest", "more"]), st.integers(), max_size=4),
)


def outcome(call: Any) -> Any:
    try:
        return call()
    except TypeError:
        return TypeError


@settings(max_examples=400)
@given(functions(), CALLS)
def test_binding_agrees_with_inspect(function: Any, call: tuple[list[int], dict[str, int]]) -> None:
    args, kwargs = call
    positional = {
        p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_ONLY
    }
    assume(
        not positional & set(kwargs)
    )  # Python 3.11's inspect refuses some of these calls that Python itself takes

    def expected() -> dict[str, Any]:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        return {k: v for k, v in bound.arguments.items() if not (k in ("rest", "more") and not v)}

    assert outcome(lambda: build_binder(function)(*args, **kwargs)) == outcome(expected)


@settings(max_examples=100)
@given(functions(), CALLS)
def test_a_decorated_function_answers_and_raises_as_before(
    function: Any, call: tuple[list[int], dict[str, int]]
) -> None:
    args, kwargs = call
    assert outcome(lambda: trace(function)(*args, **kwargs)) == outcome(lambda: function(*args, **kwargs))
    assert inspect.signature(trace(function)) == inspect.signature(function)
