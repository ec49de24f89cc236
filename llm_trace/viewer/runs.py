"""The runs, with what their calls came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.stores.run_tree import read_alike, read_run_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store

MOST = 200
_BEGINNINGS = """
    SELECT r.id, coalesce(any_value(r.replay_of), any_value(r.fork_of)), list(DISTINCT c.name)
    FROM runs r JOIN calls c ON c.run = r.id
    WHERE r.id IN (SELECT unnest(?)) AND c.parent_id IS NULL AND c.name IS NOT NULL GROUP BY r.id"""


def read_runs_page(store: Store, request: Request) -> dict[str, Any]:
    """Return the newest runs as a tree of forks, or each rerun of the line that a run belongs to."""
    run = request.query_params.get("like")
    lines = read_run_tree(store, MOST) if run is None else read_alike(store, run)
    runs = [{**line.run, "count": line.count, "title": line.title, "depth": line.depth} for line in lines]
    single = [line["id"] for line in runs if line["count"] == 1]
    return {"runs": runs, "like": run, "pair": _choose_pair(store, single)}


def _choose_pair(store: Store, runs: Sequence[str]) -> tuple[str, str] | None:
    """Return the newest two runs that can be compared, the older one first; `None` where no two can.

    A replay or fork is compared with its own origin, other runs where they began with the same function.
    """
    facts = {
        run: (origin, set(names))
        for run, origin, names in store.fetch(_BEGINNINGS, list(runs), remember=True)
    }
    known = [run for run in runs if run in facts]
    for number, run in enumerate(known):
        origin, names = facts[run]
        for older in known[number + 1 :]:
            if older == origin or (origin is None and facts[older][0] is None and names & facts[older][1]):
                return older, run
    return None
