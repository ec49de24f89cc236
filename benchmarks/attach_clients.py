"""Read a platform by its own client: run by `benchmarks/attach.py` with the Python that has the client.

    python attach_clients.py phoenix http://127.0.0.1:6006 30000 [spans]

Prints JSON: how many spans came, the seconds that it took, and, unless `spans` alone are asked for, on how
many of them `llm_trace.attribution` stands.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def read_phoenix(address: str, spans: int, *, whole: bool) -> tuple[int, float, int]:
    """Return how many spans came, in how many seconds, and how many are annotated."""
    from phoenix.client import Client

    client: Any = Client(base_url=address)
    began = time.perf_counter()
    rows = client.spans.get_spans(project_identifier="default", limit=2 * spans, timeout=600)
    took = time.perf_counter() - began
    ids = [row["context"]["span_id"] for row in rows if whole]
    annotated = set()
    for start in range(0, len(ids), 100):
        shown = client.spans.get_span_annotations(
            span_ids=ids[start : start + 100], project_identifier="default", timeout=600
        )
        annotated |= {entry["span_id"] for entry in shown if entry["name"] == "llm_trace.attribution"}
    return len(rows), took, len(annotated)


def read_mlflow(address: str, spans: int, *, whole: bool) -> tuple[int, float, int]:
    """Return how many spans came, in how many seconds, and how many are assessed."""
    import mlflow

    mlflow.set_tracking_uri(address)
    began = time.perf_counter()
    traces: Any = mlflow.search_traces(locations=["0"], max_results=spans, return_type="list")
    took = time.perf_counter() - began
    assessed = {
        entry.span_id
        for trace in traces
        if whole
        for entry in trace.info.assessments
        if entry.name == "llm_trace.attribution"
    }
    return sum(len(trace.data.spans) for trace in traces), took, len(assessed)


def main() -> None:
    platform, address, spans = sys.argv[1], sys.argv[2], int(sys.argv[3])
    read = {"phoenix": read_phoenix, "mlflow": read_mlflow}[platform]
    count, took, annotated = read(address, spans, whole=sys.argv[4:] != ["spans"])
    print(json.dumps({"spans": count, "seconds": took, "annotated": annotated}))


if __name__ == "__main__":
    main()
