"""The prompts with their versions: what changed, when each was used, how it did, and what in it matters."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.studies.template_parts import study_template
from llm_trace.errors import NotFoundError
from llm_trace.rendering.differences import diff_words
from llm_trace.stores.lookup import read_newest_attributions
from llm_trace.stores.prompt_use import read_input_cost, read_prompt_scores, read_prompt_use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from llm_trace.attribution.studies.template_parts import TemplateStudy
    from llm_trace.record import PromptVersion
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.prompt_use import InputCost, PromptKey, ScoreMean, UseBar

BARS = 40
"""Stretches of time in the picture of a version's use."""
EXPLAINED = 200
"""The newest explained calls of a version that are looked at."""


def read_prompts(store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return each prompt's versions, newest first, each beside the one before."""
    versions = store.prompts()
    uses, scores = read_prompt_use(store, versions, BARS), read_prompt_scores(store)
    prompts = []
    for name, group in groupby(versions, key=lambda version: version.name):
        prompts.append({"name": name, "versions": _describe_versions(list(group), uses, scores)[::-1]})
    return {"prompts": prompts}


def _describe_versions(
    versions: Sequence[PromptVersion],
    uses: Mapping[PromptKey, list[UseBar]],
    scores: Mapping[PromptKey, list[ScoreMean]],
) -> list[dict[str, Any]]:
    before = ("", *(version.template for version in versions))
    bars = [uses.get((version.name, version.version), []) for version in versions]
    top = max((bar.calls for row in bars for bar in row), default=0)
    return [
        {
            **version.model_dump(),
            "diff": diff_words(old, version.template),
            "scores": [score._asdict() for score in scores.get((version.name, version.version), [])],
            "bars": [bar._asdict() for bar in row],
            "top": top,
        }
        for old, version, row in zip(before, versions, bars, strict=False)
    ]


def read_parts(store: Store, request: Request) -> dict[str, Any]:
    """Return which parts of a version's template matter in its explained calls, and what each costs."""
    name, number = request.query_params.get("name", ""), request.query_params.get("version", "")
    version = next((v for v in store.prompts(halfway=True) if (v.name, v.version) == (name, number)), None)
    if version is None:
        raise NotFoundError(f"no version {number!r} of a prompt {name!r} in {str(store.path)!r}")
    explained = read_newest_attributions(store, name, number, EXPLAINED)
    study = study_template(version.template, explained)
    cost = read_input_cost(store, name, number)
    parts = [_describe_part(part, cost) for part in study.parts]
    return {
        "version": version.model_dump(),
        "explained": study.calls,
        "left_out": study.left_out,
        "most": EXPLAINED,
        "unseen": study.unseen,
        "cost": cost._asdict(),
        "parts": parts,
        "idle": _sum_idle(study, cost),
    }


def _describe_part(part: Any, cost: InputCost) -> dict[str, Any]:
    return {
        "name": part.name,
        "kind": part.kind,
        "calls": part.calls,
        "telling": part.telling,
        "idle": part.idle,
        **_price_share(part.share, cost),
    }


def _sum_idle(study: TemplateStudy, cost: InputCost) -> dict[str, Any]:
    idle = [part for part in study.parts if part.idle and part.kind != "variable"]
    return {"parts": len(idle), **_price_share(sum(part.share for part in idle), cost)}


def _price_share(share: float, cost: InputCost) -> dict[str, Any]:
    """Return what a share of the prompt's characters comes to in tokens and dollars over all calls."""
    return {
        "share": share,
        "tokens": round(share * cost.tokens),
        "usd": None if cost.usd is None else share * cost.usd,
    }
