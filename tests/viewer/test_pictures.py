from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.viewer_toys import make_client, read

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(90)).decode()
SVG = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>" + b" " * 90).decode()
REMOTE = "https://evil.example/track.png"


def ask(*parts: dict[str, Any]) -> None:
    @llm_trace.trace(kind="llm")
    def chat(messages: list[dict[str, Any]]) -> str:
        return "seen"

    chat([{"role": "user", "content": list(parts)}])


def link(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def list_sources(path: Path) -> list[str]:
    call = llm_trace.open_store(path).calls()[0]
    shown = read(make_client(path).get(f"/call/{call.span_id}")).list_values("img", "src")
    assert shown == [
        address for address in _read_notebook(call) if address.startswith("data:")
    ]  # notebooks and reports show the same
    return shown


def _read_notebook(call: llm_trace.Call) -> list[str]:
    from tests.helpers.elements import Elements

    return Elements(call._repr_html_()).list_values("img", "src")


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (link(f"data:image/png;base64,{PNG}"), f"data:image/png;base64,{PNG}"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": JPEG}},
         f"data:image/jpeg;base64,{JPEG}"),
        (link(f"data:image/svg+xml;base64,{JPEG}"), f"data:image/jpeg;base64,{JPEG}"),
        ({"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "data": PNG}]},
         f"data:image/png;base64,{PNG}"),
    ],
    ids=["data URL", "base64", "wrong name", "answer of a tool"],
)  # fmt: skip
def test_a_recorded_image_is_shown_as_what_its_bytes_are(
    store: Recorded, part: dict[str, Any], shown: str
) -> None:
    ask({"type": "text", "text": "look"}, part)
    assert list_sources(store.path) == [shown]


@pytest.mark.parametrize(
    "part",
    [
        link(f"data:image/svg+xml;base64,{SVG}"),
        link(f"data:image/png;base64,{SVG}"),
        link(f"data:text/html;base64,{SVG}"),
        link(REMOTE),
        link("javascript:alert(1)"),
        link('data:image/png;base64,"><script>alert(1)</script>'),
        {"type": "image", "source": {"type": "url", "url": "//evil.example/x.png"}},
    ],
    ids=["svg", "svg named png", "html", "remote", "script", "quotes", "no scheme"],
)
def test_what_is_no_raster_image_of_the_record_is_named_and_never_loaded(
    store: Recorded, part: dict[str, Any]
) -> None:
    ask(part)
    assert list_sources(store.path) == []
    call = store.one()
    page = read(make_client(store.path).get(f"/call/{call.span_id}"))
    outside = [address for address in page.list_values("a", "href") if not address.startswith(("/", "#"))]
    assert outside == ([REMOTE] if part == link(REMOTE) else [])
    assert {"script", "svg", "iframe"} & {tag for tag, _ in page.tags} <= {"script"}


def test_an_image_among_the_arguments_of_a_plain_function_is_shown(store: Recorded) -> None:
    llm_trace.trace(name="describe")(lambda picture: {"copy": picture})(f"data:image/png;base64,{PNG}")
    assert list_sources(store.path) == [f"data:image/png;base64,{PNG}"] * 2


def test_pages_may_load_images_from_nowhere_but_themselves(store: Recorded) -> None:
    ask(link(REMOTE))
    policy = make_client(store.path).get("/calls").headers["content-security-policy"]
    assert "img-src 'self' data:;" in policy
