"""Whose words a prompt consists of: taken from roles, tools, retrievers and variables, and what groups do."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_trace
from llm_trace.attribution.methods.coalitions import weigh_groups, weigh_within_groups
from llm_trace.attribution.methods.exact import list_subsets
from llm_trace.errors import AttributionError
from llm_trace.operations.shares import MissingSignalError, WeightShares
from tests.conftest import Recorded
from tests.helpers.question_toys import call, run

RULES = "You are kind."
ASKED = "What does the page say?"
PAGE = "Lily had a red ball and told everybody about it."


def list_origins(prompt: Any, **settings: Any) -> list[tuple[str, str | None]]:
    attribution = run(prompt, **({"segments": "sentence", "method": "occlusion"} | settings))
    return [(segment.text, segment.origin) for segment in attribution.segments]


def test_the_role_of_a_message_says_whose_words_it_holds() -> None:
    messages = [
        {"role": "system", "content": RULES},
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": "I look it up."},
        {"role": "tool", "content": PAGE},
    ]
    expected = [(RULES, "system"), (ASKED, "user"), ("I look it up.", None), (PAGE, "tool")]
    assert list_origins(messages) == expected


def test_what_a_tool_answered_in_a_message_of_the_user_is_the_tools() -> None:
    content = [{"type": "text", "text": ASKED}, {"type": "tool_result", "content": PAGE}]
    assert list_origins([{"role": "user", "content": content}]) == [(ASKED, "user"), (PAGE, "tool")]


def test_a_plain_prompt_is_the_users_and_a_template_around_variables_the_authors() -> None:
    prompt = llm_trace.Prompt("ask", "You are kind. {question} {page} Answer now.", {"page": "outside"})
    rendered = prompt.format(question=ASKED, page=PAGE)
    expected = [(RULES, "system"), (ASKED, "user"), (PAGE, "outside"), ("Answer now.", "system")]
    assert list_origins(rendered) == expected
    assert list_origins(str(rendered)) == [(text, "user") for text, _ in expected]


def test_variables_in_a_message_have_the_origins_that_their_prompt_names() -> None:
    prompt = llm_trace.Prompt("ask", "{question} {page}", {"page": "retrieved"})
    messages = [{"role": "user", "content": prompt.format(question=ASKED, page=PAGE)}]
    assert list_origins(messages) == [(ASKED, "user"), (PAGE, "retrieved")]


def test_a_segment_with_words_of_several_has_the_least_trusted_origin() -> None:
    prompt = llm_trace.Prompt("ask", "Read: {page}", {"page": "outside"})
    assert list_origins(prompt.format(page=PAGE)) == [(f"Read: {PAGE}", "outside")]


def test_origins_may_be_named_by_variable_and_by_role() -> None:
    messages = [{"role": "user", "content": ASKED}, {"role": "tool", "content": PAGE}]
    assert list_origins(messages, origins={"tool": "outside"}) == [(ASKED, "user"), (PAGE, "outside")]


STATUS = "The order is paid."
ASKS = [
    {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}},
    {"id": "2", "type": "function", "function": {"name": "look_up", "arguments": "{}"}},
]
TALKS: dict[str, list[dict[str, Any]]] = {
    "by the request's id": [
        {"role": "assistant", "content": "", "tool_calls": ASKS},
        {"role": "tool", "tool_call_id": "1", "content": PAGE},
        {"role": "tool", "tool_call_id": "2", "content": STATUS},
    ],
    "by the message's name": [
        {"role": "tool", "name": "search", "content": PAGE},
        {"role": "tool", "name": "look_up", "content": STATUS},
    ],
    "as parts": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "search", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": PAGE}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "2", "content": STATUS}]},
    ],
}


@pytest.mark.parametrize("talk", TALKS)
def test_origins_may_be_named_by_the_tool_that_answered(talk: str) -> None:
    messages = [{"role": "user", "content": ASKED}, *TALKS[talk]]
    expected = [(ASKED, "user"), (PAGE, "outside"), (STATUS, "tool")]
    assert list_origins(messages, origins={"search": "outside"}) == expected


@pytest.mark.parametrize(
    ("origins", "message"),
    [
        (
            {"pages": "outside"},
            "'pages' is neither a variable of the prompt nor a tool or role .* there are user",
        ),
        ({"user": "nobody"}, "'user' has 'nobody'; choose one of system, user, tool, retrieved, outside"),
    ],
)
def test_origins_that_name_nothing_are_refused(origins: dict[str, str], message: str) -> None:
    with pytest.raises(AttributionError, match=message):
        list_origins([{"role": "user", "content": ASKED}], origins=origins)


@pytest.mark.parametrize("origins", [{"pages": "outside"}, {"page": "nobody"}])
def test_a_prompt_refuses_origins_that_name_nothing(origins: Any) -> None:
    with pytest.raises(ValueError, match=r"name a variable of the template \(page\) and one of system, user"):
        llm_trace.Prompt("ask", "{page}", origins)


def test_origins_of_a_prompt_are_with_its_calls(store: Recorded) -> None:
    @llm_trace.trace(kind="llm", metadata={"team": "desk"})
    def ask(prompt: str) -> str:
        return " One day the dog came."

    prompt = llm_trace.Prompt("ask", "You are kind. {question} {page}", {"page": "outside"})
    ask(prompt.format(question=ASKED, page=PAGE))
    logged = store.one()
    assert logged.metadata == {"team": "desk", "origins": {"page": "outside"}}
    assert list_origins(logged, response=None) == [(RULES, "system"), (ASKED, "user"), (PAGE, "outside")]


def test_the_documents_of_a_call_are_retrieved() -> None:
    from llm_trace.record import Document

    prompt = f"{ASKED} {PAGE}"
    logged = call(input={"prompt": prompt}, documents=(Document(content=PAGE),))
    assert list_origins(logged, response=None) == [(ASKED, "user"), (PAGE, "retrieved")]


def test_documents_inside_a_variable_are_retrieved() -> None:
    from llm_trace.record import Document

    rendered = llm_trace.Prompt("ask", "{question} {page}").format(question=ASKED, page=PAGE)
    use = llm_trace.record.PromptUse(name="ask", version="1", variables=dict(rendered.variables))
    logged = call(input={"prompt": str(rendered)}, prompt=use, documents=(Document(content=PAGE),))
    assert list_origins(logged, response=None) == [(ASKED, "user"), (PAGE, "retrieved")]


def test_the_share_of_an_origin_is_that_of_its_segments() -> None:
    messages = [{"role": "user", "content": ASKED}, {"role": "tool", "content": PAGE}]
    attribution = run(messages, segments="sentence", method="shapley")
    shares = WeightShares(attribution, any_verdict=True)
    assert shares.measure_origin("user") == pytest.approx(shares.weights[0])
    assert shares.measure_origin("outside") == 0
    bare = attribution.model_copy(
        update={"segments": tuple(s.model_copy(update={"origin": None}) for s in attribution.segments)}
    )
    with pytest.raises(MissingSignalError, match="does not say whose words"):
        WeightShares(bare, any_verdict=True).measure_origin("user")


def average_orders(game: np.ndarray, groups: list[list[int]], n: int) -> np.ndarray:
    """Return Owen values by their definition: over all orders in which groups stay together."""
    orders = [
        [i for part in parts for i in part]
        for outer in permutations(groups)
        for parts in _list_inner(list(outer))
    ]
    totals = np.zeros(n)
    for order in orders:
        seen = 0
        for i in order:
            totals[i] += game[seen | 1 << i] - game[seen]
            seen |= 1 << i
    return totals / len(orders)


def _list_inner(groups: list[list[int]]) -> list[list[tuple[int, ...]]]:
    if not groups:
        return [[]]
    rest = _list_inner(groups[1:])
    return [[head, *tail] for head in permutations(groups[0]) for tail in rest]


@given(st.lists(st.floats(-5, 5), min_size=32, max_size=32), st.sampled_from([(1, 4), (2, 3), (1, 2, 2)]))
def test_values_within_groups_are_means_over_orders_in_which_groups_stay_together(
    table: list[float], sizes: tuple[int, ...]
) -> None:
    game, cuts = np.array(table), np.cumsum((0, *sizes))
    groups = [list(range(a, b)) for a, b in pairwise(cuts)]

    def value(masks: np.ndarray) -> np.ndarray:
        return np.asarray(game[masks @ (1 << np.arange(5))])

    scores = weigh_within_groups(value, groups, 5).values
    np.testing.assert_allclose(scores, average_orders(game, groups, 5), atol=1e-9)
    sums = [scores[group].sum() for group in groups]
    np.testing.assert_allclose(weigh_groups(value, groups, 5), sums, atol=1e-9)


def test_many_segments_are_sampled_with_bounds_that_hold_what_groups_do() -> None:
    rng = np.random.default_rng(3)
    alone, pairs = rng.normal(size=12), rng.normal(size=(12, 12)) / 6

    def value(masks: np.ndarray) -> np.ndarray:
        kept = masks.astype(float)
        return np.asarray(kept @ alone + np.einsum("ki,ij,kj->k", kept, pairs, kept))

    groups = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11]]
    scores = weigh_within_groups(value, groups, 12, seed=1)
    # pairs of segments share what they do together, whatever the groups
    exact = alone + np.diag(pairs) + (pairs + pairs.T - 2 * np.diag(np.diag(pairs))).sum(axis=0) / 2
    assert scores.low is not None
    assert scores.high is not None
    assert ((scores.low <= exact + 1e-9) & (exact <= scores.high + 1e-9)).all()
    subsets = value(list_subsets(12))
    assert scores.values.sum() == pytest.approx(subsets[-1] - subsets[0])
