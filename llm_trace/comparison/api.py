"""`compare`: from two names to a `Comparison`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llm_trace.comparison import judge, keys, log, remarks, words
from llm_trace.comparison.answers import PairsAtHand
from llm_trace.comparison.comparison import Comparison
from llm_trace.comparison.dataset import Dataset
from llm_trace.comparison.facts import read_facts
from llm_trace.comparison.losses import read_losses
from llm_trace.comparison.pairs import build_pairs
from llm_trace.comparison.sides import resolve_side
from llm_trace.comparison.tables import TableRequest, build_slices, build_table
from llm_trace.comparison.units import build_units
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.comparison.facts import Fact
    from llm_trace.comparison.measures import Embed
    from llm_trace.comparison.sides import Chosen, Spec
    from llm_trace.comparison.tables import Metrics

    Sides = tuple[Chosen, Chosen]


def compare(
    a: Spec,
    b: Spec,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    by: str | Dataset | None = None,
    metrics: Metrics | None = None,
    slices: Sequence[str] = ("tag",),
    lower: Iterable[str] = (),
    embed: Embed | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Return how b differs from a on the inputs that both answered.

    Args:
        a: a run (its name, id or `Run`), a prompt version (`"qa v3"`, `"qa@3"`, its hash, a `Prompt`), a
            model, a call's `span_id`, or a dict of arguments of `Store.calls`.
        b: the same, for what is to be judged.
        store: a path or an open store; by default what `LLM_TRACE_STORE` names.
        by: what tells that two calls had the same input: `dataset`, `session`, `metadata.KEY`,
            `input.ARGUMENT`, `variables.NAME`, `replay` (the call that each repeats). Or a `Dataset`: its
            tags are slices then, and its expected outputs a metric, `as_expected`. By default function and
            input; what of the input is one value
            throughout a and another throughout b does not count.
        metrics: names of metrics to keep, and functions of a call in a and its partner in b that return both
            values. By default every score, and errors, refusals, tokens, cost, times and the change of
            outputs.
        slices: compare these as well, each value that some pairs share: `tag`, and places as in `by`.
        lower: scores that are better when lower.
        embed: from texts to vectors, for the similarity of outputs; by default that of their letters.
        confidence: of the bounds.
        seed: of the sign flips; the same arguments give the same bytes.

    Raises:
        NotFoundError: a side does not exist or has no calls, or no call of a has a partner in b; the message
            says why.
        ConfigurationError: an argument that cannot be meant.
    """
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence={confidence!r} must lie between 0 and 1, such as 0.95")
    opened = (
        store
        if isinstance(store, Store)
        else open_store(store or os.environ.get("LLM_TRACE_STORE", "llm_trace.duckdb"))
    )
    key = [by] if isinstance(by, str) else []
    places = tuple(dict.fromkeys(key + [name for name in slices if name != "tag"]))
    with opened.hold():
        sides = (resolve_side(opened, a), resolve_side(opened, b))
        units = _build_units(opened, sides, places)
        pairing = _choose_pairing(opened, by, *units)
    matched = build_pairs(*units, pairing)
    if not matched.pairs:
        raise NotFoundError(
            words.describe_nothing_paired(
                (sides[0].label, sides[1].label), matched.unpaired, pairing.ambiguous
            )
        )
    dataset = by if isinstance(by, Dataset) else None
    request = TableRequest(metrics, tuple(slices), places, dataset, frozenset(lower), embed, confidence, seed)
    table = build_table(opened, matched, request)
    tried = log.log_comparison(opened.path, (sides[0].label, sides[1].label), matched.pairs)
    members = build_slices(matched.pairs, request)
    parts = judge.judge_slices(table, members)
    judged = judge.judge_overall(table)
    comparison = Comparison(
        a=sides[0].label, b=sides[1].label, paired_by=pairing.by, pairs=len(matched.pairs),
        calls=(len(units[0]), len(units[1])), metrics=judged, slices=parts,
        losses=read_losses(opened, judged, table), unpaired=matched.unpaired,
        tried=tried, confidence=confidence, seed=seed, notes=remarks.list_notes(matched.pairs, table),
        warnings=remarks.list_warnings(matched, table, tried),
    )  # fmt: skip
    return comparison.of_pairs(PairsAtHand(opened.address, tuple(table.spans), table, members))


def _choose_pairing(
    store: Store, by: str | Dataset | None, a: Sequence[Fact], b: Sequence[Fact]
) -> keys.Pairing:
    if isinstance(by, Dataset):
        return keys.pair_by_dataset(store, by, a, b)
    return keys.pair_by_place(by, a, b) if by else keys.pair_by_input(store, a, b)


def _build_units(store: Store, sides: Sides, places: Sequence[str]) -> tuple[list[Fact], list[Fact]]:
    facts = (read_facts(store, sides[0], places), read_facts(store, sides[1], places))
    for side, calls in zip(sides, facts, strict=True):
        if not calls:
            raise NotFoundError(
                f"{side.label} has no calls in {str(store.path)!r}: `llm-trace ls` shows what there is"
            )
    return build_units(*facts, (sides[0].climbs, sides[1].climbs))
