"""How the versions of prompts are used: when, with which scores, for how many tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_trace.stores.costs import JOIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.record import PromptVersion
    from llm_trace.stores.duckdb import Store

PromptKey = tuple[str, str]
"""Name and version of a prompt."""
# Stretches of time are those of the prompt, so that its versions stand one above the other. A call may begin
# a little before its prompt is rendered.
_USE = """
    WITH spans AS (SELECT unnest($1) AS prompt_name, unnest($2) AS first, unnest($3) AS width)
    SELECT c.prompt_name, c.prompt_version,
           greatest(0, least($4 - 1, (c.start_ns - s.first) // s.width)) AS bar, count(*)
    FROM calls c JOIN spans s USING (prompt_name) GROUP BY ALL"""
# A score may stand at the call around the one with the prompt, as in `comparison.iterations`.
_SCORES = """
    WITH scored AS (SELECT c.trace_id, s.name, s.number FROM scores s JOIN calls c USING (span_id)
                    WHERE s.number IS NOT NULL),
         used AS (SELECT DISTINCT trace_id, prompt_name, prompt_version FROM calls
                  WHERE prompt_name IS NOT NULL AND trace_id IN (SELECT trace_id FROM scored))
    SELECT u.prompt_name, u.prompt_version, s.name, count(*), avg(s.number),
           coalesce(stddev_samp(s.number), 0), min(s.number), max(s.number)
    FROM scored s JOIN used u USING (trace_id) GROUP BY ALL ORDER BY s.name"""
_READ = f"""
    WITH c AS (SELECT * FROM calls
               WHERE prompt_name = $1 AND prompt_version = $2 AND input_tokens IS NOT NULL
                 AND ($3::TEXT[] IS NULL OR list_contains($3, span_id))),
         v AS (SELECT version FROM _rates ORDER BY rowid DESC LIMIT 1)
    SELECT count(*), sum(c.input_tokens)::BIGINT, count(r.input_tokens),
           sum(c.input_tokens * r.input_tokens + coalesce(c.cache_read_tokens, 0) * r.cache_read_tokens
               + coalesce(c.cache_write_tokens, 0) * r.cache_write_tokens) / 1e12
    FROM c {JOIN.replace("'{}'", "(SELECT version FROM v)")}"""


class UseBar(NamedTuple):
    """The calls of a version in one stretch of time."""

    start_ns: int
    end_ns: int
    calls: int


class ScoreMean(NamedTuple):
    """The mean of a score over the traces of a version, with 95 % bounds; `None` where nothing bounds it."""

    name: str
    calls: int
    mean: float
    low: float | None
    high: float | None


class InputCost(NamedTuple):
    """What the calls of a version read, and what that cost where a price is known."""

    calls: int
    """That report their tokens."""
    tokens: int
    priced: int
    usd: float | None


def read_prompt_use(
    store: Store, versions: Sequence[PromptVersion], bars: int
) -> dict[PromptKey, list[UseBar]]:
    """Return for each version its calls in `bars` equal stretches of its prompt's time.

    Args:
        versions: all that `store.prompts` gives.
        bars: how many.
    """
    names = list(dict.fromkeys(version.name for version in versions))
    first = [min(v.first_ns for v in versions if v.name == name) for name in names]
    last = [max(v.last_ns for v in versions if v.name == name) for name in names]
    width = [(end - begin) // bars + 1 for begin, end in zip(first, last, strict=True)]
    spans = dict(zip(names, zip(first, width, strict=True), strict=True))
    rows = store.fetch(_USE, names, first, width, bars, remember=True)
    counts = {(name, version, bar): n for name, version, bar, n in rows}
    return {
        (v.name, v.version): [
            UseBar(begin + i * step, begin + (i + 1) * step, counts.get((v.name, v.version, i), 0))
            for i in range(bars)
        ]
        for v in versions
        for begin, step in (spans[v.name],)
    }


def read_prompt_scores(store: Store) -> dict[PromptKey, list[ScoreMean]]:
    """Return for each version the means of its scores."""
    from llm_trace.statistics.intervals import bound_score_mean

    scores: dict[PromptKey, list[ScoreMean]] = {}
    for name, version, score, n, mean, spread, least, most in store.fetch(_SCORES, remember=True):
        bounds = bound_score_mean(n, mean, spread, least, most)
        scores.setdefault((name, version), []).append(ScoreMean(score, n, mean, *(bounds or (None, None))))
    return scores


def read_input_cost(
    store: Store, name: str, version: str, span_ids: Sequence[str] | None = None
) -> InputCost:
    """Return what the calls of a version read.

    Args:
        span_ids: only of these calls.
    """
    chosen = None if span_ids is None else list(span_ids)
    ((calls, tokens, priced, usd),) = store.fetch(_READ, name, version, chosen)
    return InputCost(calls, tokens or 0, priced, usd)
