"""Log-probabilities over HTTP: the same numbers as the model itself gives, in both dialects."""

from __future__ import annotations

import numpy as np
import pytest

from llm_trace.attribution.remote.completions import Completions
from llm_trace.attribution.remote.model import Compare, Remote
from llm_trace.demo.model import load_model
from llm_trace.demo.world import make_cases
from llm_trace.errors import AttributionError
from tests.helpers.completions_server import serving
from tests.helpers.remote_toys import explain, first

CASE = next(iter(make_cases("single", 1, 0)))
LINE = CASE.prompt[CASE.prompt.index("Customer:") :]


@pytest.mark.parametrize("prompt_logprobs", [False, True])
def test_scores_over_http_equal_those_of_the_open_model(prompt_logprobs: bool) -> None:
    model, tokenizer = load_model()
    given = {"method": "occlusion", "baseline": "delete", "response": CASE.answer}
    near = explain(model, LINE, tokenizer=tokenizer, **given)
    with serving() as url:
        far = explain(Completions(url, "demo", prompt_logprobs=prompt_logprobs), LINE, **given)
    assert far.values == pytest.approx(near.values, abs=1e-3)
    assert (far.unit, far.model, far.target_tokens) == ("nats", "demo", near.target_tokens)
    assert far.matrix == pytest.approx(np.array(near.matrix), abs=1e-3)
    assert far.full == pytest.approx(near.full, abs=1e-3)


def test_without_a_response_the_server_is_asked_and_rate_limits_are_waited_for() -> None:
    with serving("0.1", "0") as url:
        found = explain(Completions(url, "demo", max_tokens=4), LINE, method="occlusion")
    assert found.response.strip() in ("APPROVE", "DENY", "ASK")
    assert found.faithfulness["cost"]["calls"] == found.passes
    assert (found.completeness_gap is None) == (found.empty is None)


def test_smile_tests_log_probabilities_and_their_distributions() -> None:
    (start, end) = CASE.spans[0]
    with serving() as url:
        for unit in ("nats", "distance"):
            model = Remote(Completions(url, "demo"), compare=Compare(distance="energy"))
            found = explain(model, LINE, CASE.answer, method="smile", unit=unit, budget=60)
            assert (first(found), found.unit, found.verdict) == (CASE.prompt[start:end], unit, "ok")


def test_a_part_of_the_response_can_be_the_target_and_messages_must_be_rendered() -> None:
    with serving() as url:
        model = Completions(url, "demo")
        part = explain(model, LINE, CASE.answer, method="occlusion", target=CASE.answer.strip())
        assert part.target == repr(CASE.answer.strip())
        with pytest.raises(AttributionError, match="chat template"):
            explain(model, [{"role": "user", "content": LINE}], CASE.answer)
        with pytest.raises(AttributionError, match="can be opened"):
            explain(model, LINE, CASE.answer, target=("DENY", "APPROVE"))


def test_an_address_that_serves_nothing_is_given_up() -> None:
    with serving() as url:
        pass
    with pytest.raises(AttributionError, match="answered nothing for"):
        explain(Remote(Completions(url, "demo"), patience_s=0.2), LINE, CASE.answer)
