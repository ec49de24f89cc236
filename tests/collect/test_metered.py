"""Tokens and cost that agents tell in metrics count where nothing else tells of them, and only there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llm_trace.record import Usage
from llm_trace.spool.paths import get_spool_dir
from tests.conftest import Recorded
from tests.helpers.agent_toys import BEGIN, SECOND, SESSION, build_json_logs, claude, send_metrics

USAGE = {"input": 4, "output": 120, "cacheRead": 9000, "cacheCreation": 500, "cost": 0.0123}
LOGGED = claude(
    2.0, "api_request", 2, model="claude-sonnet-5", cost_usd=0.0123, duration_ms=1500, input_tokens=4,
    output_tokens=120, cache_read_tokens=9000, cache_creation_tokens=500, request_id="req_1",
)  # fmt: skip


def count(recorded: Recorded) -> tuple[int, float]:
    """Return all output tokens and all cost."""
    calls = recorded.calls()
    tokens = sum(call.usage.output_tokens or 0 for call in calls if call.usage)
    return tokens, round(sum(call.cost_usd or 0 for call in calls), 6)


@pytest.mark.parametrize("cumulative", [False, True], ids=["delta", "cumulative"])
def test_metrics_alone_are_calls_with_tokens_and_cost(
    client: httpx.Client, recorded: Recorded, cumulative: bool
) -> None:
    send_metrics(str(client.base_url), USAGE, cumulative=cumulative)
    calls = recorded.calls()
    assert {(call.kind, call.model, call.session) for call in calls} == {("llm", "claude-sonnet-5", SESSION)}
    (usage,) = (call.usage for call in calls if call.usage)
    assert usage == Usage(
        input_tokens=9504, output_tokens=120, cache_read_tokens=9000, cache_write_tokens=500
    )
    assert count(recorded) == (120, 0.0123)


@pytest.mark.parametrize("order", ["metrics first", "logs first", "metrics around"])
def test_tokens_in_logs_and_metrics_of_one_session_count_once(
    client: httpx.Client, recorded: Recorded, order: str
) -> None:
    url = str(client.base_url)
    if order != "logs first":
        send_metrics(url, USAGE)
        recorded.calls()
    client.post("/v1/logs", json=build_json_logs([LOGGED]))
    if order != "metrics first":
        send_metrics(url, USAGE)
    assert count(recorded) == (120, 0.0123)
    assert {call.name for call in recorded.calls(kind="llm")} == {"claude_code.api_request"}


def test_metrics_of_another_session_count_beside_the_logs(client: httpx.Client, recorded: Recorded) -> None:
    client.post("/v1/logs", json=build_json_logs([LOGGED]))
    send_metrics(str(client.base_url), USAGE, session="another")
    assert count(recorded) == (240, 0.0246)


def points(start: int, *values: tuple[int, int], metric: str = "claude_code.token.usage") -> dict[str, Any]:
    data = [
        {
            "asInt": str(value), "startTimeUnixNano": str(start), "timeUnixNano": str(at),
            "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in
                           {"type": "output", "session.id": SESSION, "model": "m"}.items()],
        }
        for at, value in values
    ]  # fmt: skip
    body = {"name": metric, "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": data}}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [body]}]}]}


def test_what_counts_from_the_beginning_is_counted_by_what_is_new(
    client: httpx.Client, recorded: Recorded
) -> None:
    later = 4_000_000_000 * SECOND  # a process that began after the receiver
    for value in (10, 10, 25):
        client.post("/v1/metrics", json=points(later, (later + value * SECOND, value)))
    assert count(recorded)[0] == 25
    old = client.post("/v1/metrics", json=points(BEGIN, (BEGIN + SECOND, 500), (BEGIN + 2 * SECOND, 507)))
    assert count(recorded)[0] == 32
    assert old.json()["partialSuccess"]["rejectedDataPoints"] == "1"
    assert "from before the receiver began" in old.json()["partialSuccess"]["errorMessage"]


def test_other_metrics_are_said_not_to_be_kept(client: httpx.Client, recorded: Recorded) -> None:
    answer = client.post(
        "/v1/metrics", json=points(BEGIN, (BEGIN + 1, 5), metric="gen_ai.client.token.usage")
    )
    assert answer.json()["partialSuccess"] == {
        "rejectedDataPoints": "1",
        "errorMessage": "what tells of no call was not kept: 1 x gen_ai.client.token.usage",
    }
    assert not get_spool_dir(recorded.path).exists()
