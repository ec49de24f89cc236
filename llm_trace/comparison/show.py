"""A comparison in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.comparison import words
from llm_trace.comparison.records import DECIDED
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from llm_trace.comparison.records import ComparisonRecord, Metric

COLOURS = {"better": "green", "worse": "red", "higher": "cyan", "lower": "cyan"}
HEADS = ("metric", "pairs", "a", "b", "difference (bounds)", "effect", "q", "verdict")
ROOM = {"effect": 100, "q": 90, "pairs": 80}
"""How wide the terminal must be for a column to be shown."""
RIGHT = ("pairs", "a", "b", "effect", "q")
PLAIN_WIDTH = 120


def render_comparison(comparison: ComparisonRecord, width: int) -> Any:
    """Return the comparison for a Rich console: all pairs, the slices that differ, and the remarks."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [
        Text(f"a  {comparison.a}, {count_things(comparison.calls[0], 'call')}"),
        Text(f"b  {comparison.b}, {count_things(comparison.calls[1], 'call')}"),
        Text(
            f"{count_things(comparison.pairs, 'pair')} by {comparison.paired_by}; bounds of b - a at "
            f"{comparison.confidence:.0%}\n",
            style="dim",
        ),
        _build_table([("", metric) for metric in comparison.metrics], width),
    ]
    decided = [(name, metric) for name, metric in comparison.rows() if name and metric.verdict in DECIDED]
    if comparison.slices:
        tests = sum(metric.p_value is not None for part in comparison.slices for metric in part.metrics)
        heading = (
            f"\n{count_things(len(comparison.slices), 'slice')}, {count_things(tests, 'test')}; "
            f"decided after correction for all of these: {len(decided)}"
        )
        parts += [Text(heading, style="dim"), *([_build_table(decided, width)] if decided else [])]
    parts += [Text(), *_render_losses(comparison)]
    parts += [
        Text(f"unpaired in {u.side}: {count_things(u.calls, 'call')}, {u.reason} ({', '.join(u.examples)})")
        for u in comparison.unpaired
    ]
    parts += [Text(note, style="dim") for note in comparison.notes]
    parts += [Text(warning, style="yellow") for warning in comparison.warnings]
    return Group(*parts)


def _render_losses(comparison: ComparisonRecord) -> Iterator[Any]:
    """Return the pairs that lost the most, three lines each."""
    from rich.text import Text

    if comparison.losses:
        yield Text("pairs that got worse (llm-trace show ID shows all of a call)", style="dim")
    for loss in comparison.losses:
        yield Text(f"  {words.describe_loss(loss)}")
        yield Text(f"    a {loss.a}  {loss.output_a}", style="dim")
        yield Text(f"    b {loss.b}  {loss.output_b}", style="dim")
    if comparison.losses:
        yield Text()


def render_plain(comparison: ComparisonRecord) -> str:
    """Return what `terminal` shows as text without colours."""
    import io

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=PLAIN_WIDTH, color_system=None).print(render_comparison(comparison, PLAIN_WIDTH))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _build_table(rows: list[tuple[str, Metric]], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    named = any(name for name, _ in rows)
    shown = [i for i, head in enumerate(HEADS) if width >= ROOM.get(head, 0) + 20 * named]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in (*(["slice"] if named else []), *(HEADS[i] for i in shown)):
        table.add_column(head, justify="right" if head in RIGHT else "left", overflow="fold")
    for name, metric in rows:
        cells = [Text(cell) for cell in format_cells(metric)]
        cells[-1].stylize(COLOURS.get(metric.verdict, "dim"))
        table.add_row(*([Text(name)] if named else []), *(cells[i] for i in shown))
    return table


def format_cells(metric: Metric) -> tuple[str, ...]:
    """Return a metric's cells, in the order of `HEADS`."""
    if metric.kind == "description":
        return metric.name, f"{metric.n:,}", "", words.format_number(metric.b), "", "", "", ""
    q = "" if metric.q_value is None else "<0.001" if metric.q_value < 0.001 else f"{metric.q_value:.3f}"
    effect = (
        "" if metric.effect is None else f"{'odds' if metric.kind == 'yesno' else 'd'} {metric.effect:.2g}"
    )
    difference = words.format_number(metric.difference, signed=True)
    bounds = words.format_bounds(metric)
    return (
        metric.name,
        f"{metric.n:,}",
        words.format_number(metric.a),
        words.format_number(metric.b),
        f"{difference} ({bounds})" if bounds else difference,
        effect,
        q,
        words.describe_verdict(metric),
    )
