from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

import llm_trace
from llm_trace.viewer.app import build_viewer
from tests.helpers.cli_toys import record
from tests.helpers.viewer_toys import HOST, make_client


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "t.duckdb"
    record(path)
    return path


def test_the_link_opens_the_viewer_once_and_leaves_no_token_in_the_address(place: Path) -> None:
    client = make_client(place, known=False)
    assert client.get("/calls").status_code == 401
    assert client.get("/calls?token=wrong").status_code == 401
    first = client.get("/calls?status=ok&token=link", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/calls?status=ok")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=strict" in first.headers["set-cookie"]
    assert client.get("/calls").status_code == 200
    client.cookies.clear()
    assert client.get("/calls?token=link").status_code == 401


def test_viewers_of_other_ports_and_odd_cookies_of_other_servers_lock_nobody_out(place: Path) -> None:
    names = []
    for port in (20_001, 20_002):
        viewer = build_viewer(llm_trace.open_store(place), "link", {f"127.0.0.1:{port}"})
        client = TestClient(viewer, f"http://127.0.0.1:{port}")
        assert client.get("/?token=link").status_code == 200
        ((name, value),) = client.cookies.items()
        names.append(name)
        both = f'a[b]=1; c="; other; {names[0]}=old; {name}={value}; @=é'.encode("latin-1")
        client.cookies.clear()
        assert client.get("/calls", headers={b"cookie": both}).status_code == 200
    assert len(set(names)) == 2


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", f"{HOST}.evil.example", ""])
def test_another_host_is_refused_also_to_who_has_the_cookie(place: Path, host: str) -> None:
    answer = make_client(place).get("/calls", headers={"host": host})
    assert (answer.status_code, "refund" in answer.text) == (421, False)


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", f"https://{HOST}"])
def test_only_the_viewers_own_pages_may_change_something(place: Path, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert make_client(place).post("/calls", headers=headers).status_code == 403
    assert make_client(place).post("/calls", headers={"origin": f"http://{HOST}"}).status_code == 405


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"http://{HOST}:1", f"http://{HOST}.evil"]
)
def test_pages_of_others_may_not_ask_even_with_the_cookie(place: Path, origin: str) -> None:
    answer = make_client(place).get("/calls.json", headers={"origin": origin})
    assert (answer.status_code, "refund" in answer.text) == (403, False)
    assert make_client(place).get("/calls.json", headers={"origin": f"http://{HOST}"}).status_code == 200


@pytest.mark.parametrize("address", ["/calls", "/calls.json", "/static/style.css", "/nowhere", "/trace/ff"])
def test_every_answer_forbids_foreign_code_and_frames(place: Path, address: str) -> None:
    headers = make_client(place).get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("address", ["/static/../guard.py", "/static/%2e%2e/guard.py", "/static//etc/passwd"])
def test_no_path_leads_out_of_the_static_files(place: Path, address: str) -> None:
    assert make_client(place).get(address).status_code in (400, 404)
