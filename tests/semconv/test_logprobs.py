"""Log-probabilities of an answer's tokens, wherever providers put them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.semconv.logprobs import find_token_logprobs

ENTRY = {"token": "yes", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "no", "logprob": -1}]}
GEMINI = {
    "chosenCandidates": [{"token": "yes", "tokenId": 1, "logProbability": -0.5}],
    "topCandidates": [{"candidates": [{"token": "no", "logProbability": -1}]}],
}
GEMINI_SDK = {
    "chosen_candidates": [{"token": "yes", "token_id": 1, "log_probability": -0.5}],
    "top_candidates": [{"candidates": [{"token": "no", "log_probability": -1}]}],
}
OLD = {"tokens": ["yes"], "token_logprobs": [-0.5], "top_logprobs": [{"yes": -0.5, "no": -1}]}
OUTPUTS: dict[str, dict[str, Any]] = {
    "OpenAI chat": {"choices": [{"logprobs": {"content": [ENTRY], "refusal": None}}, {"logprobs": None}]},
    "OpenAI completions": {"choices": [{"text": "yes", "logprobs": OLD}]},
    "OpenAI responses": {"output": [{"type": "message", "content": [{"text": "yes", "logprobs": [ENTRY]}]}]},
    "Gemini, REST": {"candidates": [{"logprobsResult": GEMINI}]},
    "Gemini, SDK": {"candidates": [{"logprobs_result": GEMINI_SDK}]},
    "LangChain": {"content": "yes", "response_metadata": {"logprobs": {"content": [ENTRY]}}},
}


@pytest.mark.parametrize("shape", OUTPUTS)
def test_log_probabilities_are_found_in_each_providers_shape(shape: str) -> None:
    assert find_token_logprobs(OUTPUTS[shape]) == [("yes", -0.5, (("no", -1.0),))]


def test_the_first_token_of_an_echoed_prompt_has_none() -> None:
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [None, -0.25], "top_logprobs": None}
    assert find_token_logprobs({"choices": [{"logprobs": logprobs}]}) == [("b", -0.25, ())]


NAMES = ("choices", "logprobs", "content", "output", "candidates", "logprobs_result", "tokens", "token",
         "token_logprobs", "top_logprobs", "response_metadata", "chosen_candidates", "logprob")  # fmt: skip
DATA: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=15,
)


@given(DATA)
def test_no_output_is_too_odd_to_be_looked_at(output: Any) -> None:
    assert all(token.logprob <= 0 for token in find_token_logprobs(output))
