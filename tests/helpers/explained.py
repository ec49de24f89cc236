"""Attributions of recorded calls, made by hand and written to the spool."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llm_trace
from llm_trace.record import Attribution, Call, Segment
from tests.helpers.spool_toys import HandWriter, spool_of


def cut_words(prompt: str) -> tuple[Segment, ...]:
    """Return the words of a prompt as segments."""
    words = re.finditer(r"\S+", prompt)
    return tuple(Segment(start=m.start(), end=m.end(), text=m.group()) for m in words)


def make_attribution(prompt: str, values: Sequence[float], **fields: Any) -> Attribution:
    """Return an attribution by word, exact unless the fields say otherwise."""
    defaults = {
        "method": "occlusion",
        "response": "yes",
        "target": "the whole response",
        "bounds": "exact",
        "baseline": "removed",
        "segments": cut_words(prompt),
    }
    return Attribution(**{**defaults, "prompt": prompt, "values": tuple(values), **fields})


def keep_attributions(path: Path, call: Call, *attributions: Attribution) -> None:
    """Write attributions of a call to the spool, the first as the oldest."""
    writer = HandWriter(spool_of(path))
    for number, attribution in enumerate(attributions):
        writer.event(
            "attribution",
            id=f"{call.span_id}-{number}",
            span_id=call.span_id,
            trace_id=call.trace_id,
            start_ns=call.start_ns,
            time_ns=call.start_ns + number,
            method=attribution.method,
            config_hash=str(number),
            status="ok",
            attribution=attribution.model_copy(update={"span_id": call.span_id}).model_dump(mode="json"),
        )
    writer.close()


def record_explained(path: Path, prompt: str, *attributions: Attribution, output: Any = "yes") -> Call:
    """Record a call with a prompt and its attributions; return it."""
    llm_trace.configure(path)
    llm_trace.trace(kind="llm", name="ask")(lambda prompt: output)(prompt=prompt)
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store:
        call = store.calls(kind="llm", limit=1)[0]
    keep_attributions(path, call, *attributions)
    return call
