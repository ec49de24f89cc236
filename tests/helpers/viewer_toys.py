"""The viewer as tests drive it: in this process, with the link taken."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

import llm_trace
from llm_trace.viewer.app import build_viewer

HOST = "testserver"


def make_client(path: Path, *, known: bool = True) -> TestClient:
    """Return a browser in front of a store's viewer."""
    client = TestClient(build_viewer(llm_trace.open_store(path), "link", {HOST}), f"http://{HOST}")
    if known:
        assert client.get("/?token=link").status_code == 200
    return client


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def list_values(self, tag: str, attribute: str) -> list[str]:
        """Return an attribute of all elements of a kind that have it."""
        return [
            attributes[attribute] or ""
            for name, attributes in self.tags
            if name == tag and attribute in attributes
        ]


def read(answer: Any) -> Elements:
    """Return the elements of a page that was shown."""
    assert answer.status_code == 200, answer.text
    return Elements(answer.text)
