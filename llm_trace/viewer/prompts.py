"""The prompts with their versions, what changed from one to the next, and how each did."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.differences import diff_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from llm_trace.record import PromptVersion
    from llm_trace.stores.duckdb import Store

_SCORES = """
    SELECT c.prompt_name, c.prompt_version, s.name, avg(s.number), count(s.number)
    FROM scores s JOIN calls c USING (span_id)
    WHERE c.prompt_name IS NOT NULL AND s.number IS NOT NULL GROUP BY ALL ORDER BY ALL"""


def read_prompts(store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return each prompt's versions, newest first, each beside the one before."""
    scores: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, version, score, mean, count in store.sql(_SCORES):
        scores.setdefault((name, version), []).append({"name": score, "mean": mean, "calls": count})
    prompts = []
    for name, group in groupby(store.prompts(), key=lambda version: version.name):
        prompts.append({"name": name, "versions": _describe_versions(list(group), scores)[::-1]})
    return {"prompts": prompts}


def _describe_versions(
    versions: Sequence[PromptVersion], scores: dict[tuple[str, str], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    before = ("", *(version.template for version in versions))
    return [
        {
            **version.model_dump(),
            "diff": diff_words(old, version.template),
            "scores": scores.get((version.name, version.version), []),
        }
        for old, version in zip(before, versions, strict=False)
    ]
