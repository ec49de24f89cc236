"""The pairs that lost the most, with what was asked and answered: what to look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.comparison.facts import ASKED
from llm_trace.comparison.measures import TEXT
from llm_trace.comparison.records import Loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.comparison.judge import PairTable
    from llm_trace.comparison.records import Metric
    from llm_trace.stores.duckdb import Store

LONGEST = 160
"""Characters of an input or answer that are shown."""
_WORDS = f"""{ASKED}
SELECT c.span_id, coalesce(asking.text, CAST(c.input AS TEXT)), coalesce({TEXT}, c.error_type, c.status)
FROM calls c JOIN asked USING (span_id)
LEFT JOIN messages m ON m.id = c.messages_out[-1]
LEFT JOIN messages asking ON asking.id = c.messages_in[-1]"""


def read_losses(store: Store, metrics: Sequence[Metric], table: PairTable) -> tuple[Loss, ...]:
    """Return the pairs that lost the most of each score, and of each other metric that got worse."""
    telling = [m for m in metrics if m.better and (m.verdict == "worse" or m.name in table.scales)]
    spans = [span for metric in telling for pair in metric.worst for span in pair]
    excerpts = {row[0]: tuple(map(_cut_excerpt, row[1:])) for row in store.sql(_WORDS, " ".join(spans))}
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


def _cut_excerpt(text: Any) -> str:
    """Return the beginning of a text on one line, without characters that would steer a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text or "")).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
