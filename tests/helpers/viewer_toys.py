"""The viewer as tests drive it: in this process, with the link taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

import llm_trace
from llm_trace.viewer.app import build_viewer
from tests.helpers.elements import Elements

HOST = "testserver"
PART = {"HX-Request": "true"}
"""Headers of a request for a part of a page."""


def make_client(path: Path, *, known: bool = True, functions: Sequence[str] = ()) -> TestClient:
    """Return a browser in front of a store's viewer, which may run functions again."""
    viewer = build_viewer(llm_trace.open_store(path), "link", {HOST}, functions)
    client = TestClient(viewer, f"http://{HOST}")
    if known:
        assert client.get("/?token=link").status_code == 200
    return client


def read(answer: Any) -> Elements:
    """Return the elements of a page that was shown."""
    assert answer.status_code == 200, answer.text
    return Elements(answer.text)
