"""The pairs that lost the most, with what was asked and answered: what to look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.comparison.answers import read_texts
from llm_trace.comparison.records import Loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.comparison.judge import PairTable
    from llm_trace.comparison.records import Metric
    from llm_trace.stores.duckdb import Store

LONGEST = 160
"""Characters of an input or answer that are shown."""


def read_losses(store: Store, metrics: Sequence[Metric], table: PairTable) -> tuple[Loss, ...]:
    """Return the pairs that lost the most of each score, and of each other metric that got worse."""
    telling = [m for m in metrics if m.better and (m.verdict == "worse" or m.name in table.scales)]
    spans = [span for metric in telling for pair in metric.worst for span in pair]
    texts = read_texts(store, spans)
    excerpts = {span: tuple(map(_cut_excerpt, pair)) for span, pair in texts.items()}
    return tuple(_list_losses(telling, table, excerpts)) if spans else ()


def _list_losses(
    metrics: Sequence[Metric], table: PairTable, excerpts: dict[str, tuple[str, ...]]
) -> Iterator[Loss]:
    number = {spans: i for i, spans in enumerate(table.spans)}
    for metric in metrics:
        for a, b in metric.worst:
            before, after = table.tested[metric.name][:, number[a, b]].tolist()
            yield Loss(
                metric=metric.name, a=a, b=b, before=before, after=after, input=excerpts[a][0],
                output_a=excerpts[a][1], output_b=excerpts[b][1],
            )  # fmt: skip


def _cut_excerpt(text: str) -> str:
    """Return the beginning of a text on one line, without characters that would steer a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
