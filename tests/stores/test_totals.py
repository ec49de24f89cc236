"""What calls come to: no token is counted twice, whatever the order and the shape of the calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_trace.stores.totals import sum_outermost

trees = st.lists(st.tuples(st.integers(-1, 8), st.none() | st.integers(0, 9)), max_size=9)


def test_what_a_call_reports_includes_what_the_calls_inside_it_report() -> None:
    parents = {"agent": "outside", "step": "agent", "ask": "step", "alone": None}
    assert sum_outermost(parents, {"agent": 210, "step": None, "ask": 100, "alone": 7}) == 217
    assert sum_outermost(parents, {"agent": None, "step": None, "ask": 100, "alone": 7}) == 107
    assert sum_outermost(parents, {"agent": None, "step": 0, "ask": 100, "alone": None}) == 0
    assert sum_outermost(parents, dict.fromkeys(parents)) is None
    assert sum_outermost({}, {}) is None


@given(trees)
def test_totals_know_no_order_and_end_where_parents_go_in_circles(
    calls: list[tuple[int, int | None]],
) -> None:
    parents = {str(i): str(parent) for i, (parent, _) in enumerate(calls)}
    numbers = {str(i): number for i, (_, number) in enumerate(calls)}
    backwards = dict(reversed(parents.items()))
    if all(parent < i for i, (parent, _) in enumerate(calls)):
        outermost = [
            number
            for i, (_, number) in enumerate(calls)
            if number is not None
            and not any(numbers[above] is not None for above in ancestors(str(i), parents))
        ]
        assert sum_outermost(parents, numbers) == (sum(outermost) if outermost else None)
        assert sum_outermost(backwards, numbers) == sum_outermost(parents, numbers)
    else:
        sum_outermost(parents, numbers)


def ancestors(span: str, parents: dict[str, str]) -> list[str]:
    above = []
    while (span := parents[span]) in parents:
        above.append(span)
    return above
