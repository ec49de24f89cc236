from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from tests.helpers.support_toys import record_agents
from tests.helpers.viewer_toys import make_client, read

WORDS = (
    "They part at step 2: the left ran `look_up` and failed (TimeoutError: the shop did not answer), "
    "the right ran `look_up`."
)


@pytest.fixture
def traces(path: Path) -> tuple[str, str]:
    return record_agents(path)


def test_two_traces_stand_side_by_side_and_where_they_part_is_said(
    traces: tuple[str, str], path: Path
) -> None:
    client = make_client(path)
    address = "/traces{}?left=" + f"{traces[0]}&right={traces[1]}"
    data = client.get(address.format(".json")).json()
    assert data["words"] == WORDS
    assert [(p["change"], p["left"], p["right"]) for p in data["pairs"]] == [
        ("same", 0, 0),
        ("left", 1, None),
        ("same", 2, 1),
        ("changed", 3, 2),
        ("left", 4, None),
        ("left", 5, None),
    ]
    shown = read(client.get(address.format("")))
    assert WORDS in shown.text
    assert shown.text.index("Here they part") > shown.text.index("asks for")
    assert shown.list_values("p", "id") == ["parting"]


def test_a_call_or_the_beginning_of_an_id_stands_for_its_trace(traces: tuple[str, str], path: Path) -> None:
    call = llm_trace.open_store(path).calls(name="refund")[0]
    page = make_client(path).get(f"/traces.json?left={call.span_id}&right={traces[1][:20]}").json()
    assert [page["sides"][side]["trace_id"] for side in ("left", "right")] == list(traces)


def test_a_trace_leads_to_the_page_that_asks_for_the_other(traces: tuple[str, str], path: Path) -> None:
    client = make_client(path)
    link = f"/traces?left={traces[0]}"
    assert link in read(client.get(f"/trace/{traces[0]}")).list_values("a", "href")
    assert "Which two?" in read(client.get(link)).text


@pytest.mark.parametrize("name", ["nobody", "' OR 1=1 --", "%"])
def test_a_trace_that_is_none_is_said(traces: tuple[str, str], path: Path, name: str) -> None:
    answer = make_client(path).get("/traces", params={"left": name, "right": traces[0]})
    assert answer.status_code == 404
    assert "no trace" in answer.text
