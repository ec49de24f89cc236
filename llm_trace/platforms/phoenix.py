"""Phoenix: spans in the order in which they arrived, and annotations of spans.

Source: Phoenix 20, `/v1/projects/{project}/spans` (sorted by id, which is the order of arrival) and
    `/v1/span_annotations`, which replaces an annotation of the same name and identifier.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from llm_trace.errors import ConfigurationError
from llm_trace.platforms import Annotation, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.platforms.client import PlatformClient, build_headers
from llm_trace.platforms.sending import send_together

PAGE = 1000
_KINDS = {"model": "LLM", "human": "HUMAN"}


class PhoenixPlatform:
    """One project of a Phoenix; `PHOENIX_API_KEY` is its key where it wants one."""

    importer = "phoenix"

    def __init__(self, address: PlatformAddress) -> None:
        headers = build_headers(PHOENIX_API_KEY="Authorization: Bearer {}")
        self._client = PlatformClient(address.base_url, settings=["PHOENIX_API_KEY"], headers=headers)
        self._path = f"/v1/projects/{quote(address.project, safe='')}/spans"

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield the spans that arrived after a cursor, which is the last span that was read."""
        while True:
            params = {"limit": PAGE, "sort": "id", "order": "asc"} | ({"cursor": cursor} if cursor else {})
            answer = self._client.get(self._path, params)
            new = [span for span in answer["data"] if span.get("id") != cursor]
            _check_order(new)
            if new:
                cursor = str(new[-1]["id"])
                yield TracePage(new, cursor)
            if not answer.get("next_cursor"):
                return

    def annotate(self, annotations: Sequence[Annotation]) -> dict[str, str]:
        """Write annotations, at once: Phoenix passes over silently what it is to write later and cannot."""
        return send_together(annotations, self._send)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, annotations: Sequence[Annotation]) -> None:
        data = [_build_annotation(annotation) for annotation in annotations]
        self._client.post("/v1/span_annotations", {"data": data}, {"sync": "true"})


def _check_order(spans: Sequence[dict[str, Any]]) -> None:
    """Refuse a Phoenix that lists the newest first whatever is asked for: what comes later would be missed.

    Raises:
        ConfigurationError: it does.
    """
    numbers = [_read_number(span.get("id")) for span in spans]
    if any(first > second for first, second in pairwise(numbers)):
        raise ConfigurationError(
            "this Phoenix cannot list spans in the order in which they arrived: upgrade its server"
        )


def _read_number(identity: Any) -> int:
    """Return the number in an id of Phoenix, the Base64 of `Span:17`."""
    try:
        return int(base64.b64decode(str(identity)).decode().partition(":")[2])
    except ValueError as exc:
        raise ConfigurationError(f"{identity!r} is no id of a span of Phoenix") from exc


def _build_annotation(annotation: Annotation) -> dict[str, Any]:
    value = annotation.value
    shown = (
        {"label": value} if isinstance(value, str) else {"score": value if value is None else float(value)}
    )
    return {
        "span_id": annotation.span_id,
        "name": annotation.name,
        "annotator_kind": _KINDS.get(annotation.source, "CODE"),
        "result": {**shown, "explanation": annotation.explanation},
        "metadata": annotation.details,
        "identifier": annotation.id,
    }
