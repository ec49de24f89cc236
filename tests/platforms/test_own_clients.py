"""The stand-ins answer and take what the platforms' own clients read and write: `make test-clients`.

LangSmith's client is among what the tests run with. Langfuse's and Opik's are not; without them their tests
are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.cli_toys import answer
from tests.helpers.loopback import Loopback
from tests.platforms.hosted import Hosted
from tests.platforms.langfuse_standin import Langfuse
from tests.platforms.langsmith_standin import Langsmith as LangsmithStandin
from tests.platforms.opik_standin import Opik
from tests.platforms.standins import BEGIN_S
from tests.platforms.test_hosted import explain


def attach_and_explain(tmp_path: Path, address: str) -> None:
    """Read all calls, explain the model's, score all, and write that back."""
    store = tmp_path / "t.duckdb"
    assert answer(store, "attach", address)["calls"] == 6
    explain(store)
    assert answer(store, "attach", address, "--score", "helpful")["written"] == 9


@contextmanager
def serve(project: Hosted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for setting, key in project.keys.items():
        monkeypatch.setenv(setting, key)
    with Loopback(project.answer) as server:
        yield server


def test_langsmiths_client_reads_and_writes_as_attach_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langsmith import Client
    from langsmith._client import Langsmith
    from langsmith._internal._v2_migration_utils import _V2_RUN_SELECTS
    from langsmith.schemas import FeedbackCreate

    project = LangsmithStandin(3)
    with serve(project, monkeypatch) as server:
        client = Client(api_url=f"{server.url}/api/v1", api_key="key-1", auto_batch_tracing=False)
        session = client.read_project(project_name="desk").id
        begin = datetime.fromtimestamp(BEGIN_S, UTC)
        with Langsmith(base_url=server.url, api_key="key-1") as api:
            listed = api.runs.query_v2(
                project_ids=[str(session)], min_start_time=begin, selects=_V2_RUN_SELECTS, page_size=4
            )
            runs = {str(run.id): run for run in listed}
        assert runs.keys() == {row["id"] for row in project.rows}
        asked = next(run for run in runs.values() if run.name == "ask 1")
        assert (asked.run_type, asked.prompt_tokens, asked.total_cost) == ("LLM", 12, 0.25)
        client.create_feedback(asked.id, "tone", score=0.25, comment="calm", session_id=session)
        attach_and_explain(tmp_path, f"langsmith://{server.address}/desk")
        shown = list(client.list_feedback(run_ids=list(runs)))
    sent = {FeedbackCreate(**body).id for body in project.feedback.values()}
    assert sent == {feedback.id for feedback in shown}
    by_key = {feedback.key: feedback for feedback in shown if str(feedback.run_id) == asked.id}
    assert by_key.keys() == {"tone", "llm_trace.attribution", "helpful"}
    assert (by_key["llm_trace.attribution"].value, by_key["helpful"].score) == ("ok", 0.1235)
    unknown = {
        name for body in project.feedback.values() for name in body
    } - FeedbackCreate.model_fields.keys()
    assert unknown == set()


def test_langfuses_client_reads_and_writes_as_attach_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pytest.importorskip("langfuse.api", reason="Langfuse's client is opt-in: make test-clients")
    project = Langfuse(3)
    with serve(project, monkeypatch) as server, httpx.Client() as http:
        client = api.LangfuseAPI(base_url=server.url, username="pk-1", password="sk-1", httpx_client=http)
        (desk,) = client.projects.get().data
        page = client.observations.get_many(
            fields="core,basic,io,model,usage,metadata,trace_context", limit=4
        )
        rest = client.observations.get_many(fields="core", limit=4, cursor=page.meta.cursor)
        assert (desk.name, len(page.data), len(rest.data), rest.meta.cursor) == ("desk", 4, 2, None)
        assert {row["id"] for row in project.rows} == {row.id for row in [*page.data, *rest.data]}
        asked = next(row for row in page.data if row.type == "GENERATION")
        assert (asked.model, asked.usage_details["input"]) == ("small-1", 12)
        attach_and_explain(tmp_path, f"langfuse://{server.address}/desk")
        sent = [api.CreateScoreRequest.model_validate(score) for score in project.scores.values()]
        received, project.scores = project.scores, {}
        client.scores.create(request=sent)
    times = [score.pop("timestamp") for score in project.scores.values()]
    assert [datetime.fromisoformat(time).timestamp() for time in times] == [
        datetime.fromisoformat(score.pop("timestamp")).timestamp() for score in received.values()
    ]
    assert project.scores == received


def test_opiks_client_reads_and_writes_as_attach_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_module = pytest.importorskip("opik.rest_api.client", reason="Opik's is opt-in: make test-clients")
    types: Any = pytest.importorskip("opik.rest_api.types")
    project = Opik(3)
    with serve(project, monkeypatch) as server, httpx.Client() as http:
        client = client_module.OpikApi(
            base_url=f"{server.url}/api", api_key="key-1", workspace_name="acme", httpx_client=http
        )
        traces = b"".join(client.traces.search_traces(project_name="desk", limit=10)).splitlines()
        spans = b"".join(client.spans.search_spans(project_name="desk", limit=2)).splitlines()
        named = [types.TracePublic.model_validate_json(line).name for line in traces]
        asked = [types.SpanPublic.model_validate_json(line) for line in spans]
        assert named == ["pipeline"] * 3
        assert [(span.name, span.model, span.usage["prompt_tokens"]) for span in asked] == [
            ("ask 3", "small-1", 12), ("ask 2", "small-1", 12)
        ]  # fmt: skip
        attach_and_explain(tmp_path, f"opik://{server.address}/desk")
        sent = {key: types.FeedbackScoreBatchItem.model_validate(s) for key, s in project.scores.items()}
        received, project.scores = project.scores, {}
        client.spans.score_batch_of_spans(scores=[s for key, s in sent.items() if key[0] == "spans"])
        client.traces.score_batch_of_traces(scores=[s for key, s in sent.items() if key[0] == "traces"])
    assert project.scores == received
