"""How a trace and a call look in the terminal."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.cli.output import make_plain_text, make_status
from llm_trace.controls import clean
from llm_trace.rendering import formatting
from llm_trace.rendering.guards import describe_guard
from llm_trace.rendering.media import name_media

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.text import Text

    from llm_trace.record import Attribution, Call, Score
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.find import CallInTrace
    from llm_trace.stores.lookup import TreeRow

LINES = 200
"""Calls that a tree shows."""
TEXT = 4000
"""Characters of a prompt or an answer that are shown without --full."""
BARS = 6
"""Segments whose scores are listed below the coloured words."""
CHUNKS = 20
"""Retrieved documents whose scores are listed, those that did nothing included."""
FAINT = 0.02
"""Part of the largest score below which one is not listed."""


def print_trace(out: "Console", store: "Store", place: "CallInTrace", *, full: bool) -> None:
    """Print the tree of a trace, then the call that is meant with all that is known of it."""
    call = store.call(place.span_id)
    head = (
        make_plain_text("trace ", "dim")
        .append(place.trace_id)
        .append(f"  {formatting.format_clock(place.rows[0].start_ns)}", style="dim")
    )
    out.print(head)
    for tree in build_call_trees(place.rows[:LINES], place.span_id):
        out.print(tree, no_wrap=True, overflow="ellipsis", crop=True)
    if place.calls > LINES:
        out.print(f"… {place.calls - LINES:,} more calls in this trace", style="dim")
    out.print()
    print_call(out, read_known(store, call), full=full)


@dataclass(frozen=True)
class CallDetails:
    """All that a store knows of a call."""

    call: "Call"
    run: str | None
    """Name of its run."""
    attributions: "Sequence[Attribution]"
    scores: "Sequence[Score]"


def read_known(store: "Store", call: "Call") -> CallDetails:
    """Return what the store knows of a call."""
    from llm_trace.stores.lookup import find_run_name

    run = find_run_name(store, call.run)
    return CallDetails(call, run, store.attributions(call.span_id), store.scores(call.span_id))


def build_call_trees(rows: "Sequence[TreeRow]", chosen: str) -> list[Any]:
    """Return the calls as trees; a call whose parent is not among them is a root."""
    from rich.tree import Tree

    nodes = {
        row.span_id: Tree(_format_line(row, chosen=row.span_id == chosen), guide_style="dim") for row in rows
    }
    parents = {row.span_id: row.parent_id for row in rows if row.parent_id in nodes}
    roots = []
    for row in rows:
        parent = parents.get(row.span_id)
        if parent is None or _is_below(parent, row.span_id, parents):
            roots.append(nodes[row.span_id])
            parents.pop(row.span_id, None)
        else:
            nodes[parent].children.append(nodes[row.span_id])
    return roots


def _is_below(span: str | None, other: str, parents: "Mapping[str, str | None]") -> bool:
    """Whether following the parents of a span leads to the other one: logs of strangers may have circles."""
    for _ in range(len(parents) + 1):
        if span is None or span == other:
            break
        span = parents.get(span)
    return span == other


def _format_line(row: "TreeRow", *, chosen: bool) -> "Text":
    text = make_plain_text(row.name, "bold" if chosen else "").append(f"  {row.kind}", style="dim")
    text.append("  ").append(make_status(row.status))
    duration = None if row.end_ns is None else row.end_ns - row.start_ns
    facts = (
        formatting.format_duration(duration),
        clean(row.model or ""),
        formatting.format_tokens(row.input_tokens, row.output_tokens),
        formatting.format_cost(row.cost_usd),
    )
    text.append("".join(f"  {fact}" for fact in facts if fact))
    text.append(f"  {row.guard}" if row.guard else "", style="bold red")
    return text.append(f"  {row.span_id}", style="bold cyan" if chosen else "dim")


def print_call(out: "Console", known: CallDetails, *, full: bool) -> None:
    """Print one call: what is known of it, prompt and answer, attributions, scores, error."""
    from rich.rule import Rule

    call = known.call
    out.print(Rule(make_plain_text(f"{call.name} {call.span_id}", "bold"), align="left", style="dim"))
    for name, value in list_facts(known).items():
        out.print(
            make_plain_text(f"{name:<9} ", "dim").append(
                make_plain_text(formatting.format_one_line(value, 400))
            )
        )
    asked = _format_conversation(call.messages_in) or _format_arguments(call.input)
    if full or not any(
        attribution.prompt in asked for attribution in known.attributions
    ):  # else it comes coloured
        _print_text(out, "input", asked, full=full)
    if call.output is not None or call.messages_out:
        _print_text(
            out,
            "output",
            _format_arguments(call.output)
            if isinstance(call.output, str)
            else _format_conversation(call.messages_out) or _format_arguments(call.output),
            full=full,
        )
    if (guard := describe_guard(call)) is not None:
        out.print(make_plain_text("\nguard", "dim"))
        out.print(make_plain_text(guard.text, "red" if guard.objected else ""))
    if call.error is not None:
        out.print(make_plain_text("\nerror", "dim"))
        summary = f"{call.error.type}: {call.error.message or ''}"
        out.print(make_plain_text((call.error.traceback or "").rstrip() or summary, "red"))
    for attribution in known.attributions[-3:]:
        print_attribution(out, attribution)
    if known.scores:
        _print_scores(out, known.scores[-20:])


def _print_scores(out: "Console", scores: "Sequence[Score]") -> None:
    out.print(make_plain_text("\nscores", "dim"))
    for score in scores:
        remark = f"  {score.comment}" if score.comment else ""
        line = make_plain_text(f"  {score.name} = {score.value}")
        out.print(line.append(clean(f"  {score.source}{remark}"), style="dim"))


def list_facts(known: CallDetails) -> dict[str, str]:
    """Return what is known of a call beside its texts, without what is not known."""
    call = known.call
    facts: dict[str, Any] = {
        "function": f"{call.code.function} ({call.code.file}:{call.code.line})" if call.code else None,
        "model": " · ".join(filter(None, (call.model, call.provider))),
        "params": _format_json(call.params),
        "first": None
        if call.first_token_ns is None
        else f"{formatting.format_duration(call.first_token_ns - call.start_ns)} to the first token",
        "prompt": f"{call.prompt.name} {call.prompt.version}" if call.prompt else None,
        "run": " ".join(filter(None, (known.run, call.run))),
        "session": call.session,
        "user": call.user,
        "tags": ", ".join(call.tags),
        "metadata": _format_json(call.metadata),
        "replay of": call.replay_of,
    }
    return {name: str(value) for name, value in facts.items() if value}


def _format_json(data: "Mapping[str, Any]") -> str:
    return json.dumps(name_media(data), ensure_ascii=False, default=str) if data else ""


def _format_conversation(messages: "Sequence[Any]") -> str:
    """Return chat messages as text, other parts as JSON."""
    lines = []
    for message in messages:
        others = [name_media(part.model_dump(mode="json")) for part in message.parts if part.type != "text"]
        body = "\n".join(
            filter(
                None, (name_media(message.text), *(formatting.format_one_line(part, 1000) for part in others))
            )
        )
        lines.append(f"{message.role}: {body}")
    return "\n\n".join(lines)


def _format_arguments(data: Any) -> str:
    """Return an input as `name: value` lines, anything else as JSON."""
    data = name_media(data)
    if isinstance(data, str):
        return data
    if isinstance(data, dict) and data:
        return "\n".join(
            f"{name}: {value if isinstance(value, str) else _format_pretty(value)}"
            for name, value in data.items()
        )
    return "" if data is None or data == {} else _format_pretty(data)


def _format_pretty(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)


def _print_text(out: "Console", title: str, text: str, *, full: bool) -> None:
    if not text:
        return
    shown = text if full or len(text) <= TEXT else text[:TEXT]
    out.print(make_plain_text(f"\n{title}", "dim"))
    out.print(make_plain_text(shown))
    if len(shown) < len(text):
        out.print(f"… {len(text) - len(shown):,} more characters: --full shows all", style="dim")


def print_attribution(out: "Console", attribution: "Attribution") -> None:
    """Print the prompt with coloured words, the strongest scores as numbers and bars, and the summary."""
    from llm_trace.rendering import heatmap

    out.print(
        make_plain_text("\nwhat mattered ", "dim").append(
            f"{attribution.method}, {attribution.unit}", style="dim"
        )
    )
    coloured = heatmap.render_terminal(attribution)
    coloured.plain = clean(coloured.plain)
    out.print(coloured)
    chunks = attribution.segments[0].kind == "chunk"
    for line in render_bars(attribution, most=CHUNKS, faint=0.0) if chunks else render_bars(attribution):
        out.print(line)
    for note in attribution.notes if chunks else ():
        out.print(make_plain_text(f"  {note}", "dim"))
    out.print(make_plain_text(attribution.summary()))
    verdict = (
        "ok" if attribution.verdict == "ok" else f"not evidence: {attribution.verdict.replace('_', ' ')}"
    )
    out.print(
        make_plain_text("verdict ", "dim").append(verdict, style="green" if verdict == "ok" else "bold red")
    )


def render_bars(attribution: "Attribution", most: int = BARS, faint: float = FAINT) -> "list[Text]":
    """Return the strongest segments with their score and a bar: the same without colours.

    Args:
        most: how many at most.
        faint: part of the largest score below which one is left out.
    """
    from llm_trace.rendering.sentences import name_segment

    scores = [abs(value) for value in attribution.values]
    top = max(scores, default=0.0) or 1.0
    strongest = sorted(range(len(scores)), key=lambda i: -scores[i])[:most]
    strongest = [i for i in strongest if scores[i] >= faint * top]
    width = 44 if attribution.segments[0].kind == "chunk" else 24
    names = {i: formatting.format_one_line(name_segment(attribution.segments[i]), width) for i in strongest}
    wide = max((len(name) for name in names.values()), default=0)
    lines = []
    for i in strongest:
        value = attribution.values[i]
        bar = "█" * max(1, round(20 * scores[i] / top))
        line = make_plain_text(f"  {names[i]:<{wide}} {value:+7.2f} ")
        if not attribution.stands_out(i):
            lines.append(line.append(f"{bar} not told from noise", style="dim"))
            continue
        lines.append(line.append(bar, style="#0072b2" if value > 0 else "#e69f00"))
    return lines
