"""`llm-trace attribute`: explain calls that were logged."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.find import find_call_argument
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_notes_console,
    make_plain_text,
    print_complaint,
    print_json,
)
from llm_trace.cli.tree import print_attribution

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace attribute last --model demo"


IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...",
        help=(
            "Span or trace ids, their beginnings, or last. Without one the newest calls that the options "
            "choose."
        ),
    ),
]
KindOption = Annotated[
    str | None,
    typer.Option(
        "--kind", metavar="KIND", help="Only calls of this kind; llm where neither ids nor a name are given."
    ),
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N calls.")]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="demo (the embedded one), a folder or a name to load.")
]
MethodOption = Annotated[str, typer.Option("--method", metavar="METHOD", help="auto, occlusion …")]
Segments = Annotated[
    str,
    typer.Option("--segments", metavar="SEGMENTS", help="word, sentence, line, message, variable or chunk."),
]
BaselineOption = Annotated[
    str, typer.Option("--baseline", metavar="BASELINE", help="auto, delete, mask, or a text in its place.")
]
UnitOption = Annotated[str, typer.Option("--unit", metavar="UNIT", help="nats, probability or logit.")]
Most = Annotated[
    int | None, typer.Option("--budget", metavar="N", min=1, help="At most N passes for each call.")
]
TotalOption = Annotated[
    int | None,
    typer.Option(
        "--total-budget",
        metavar="N",
        min=1,
        help="At most N passes for all calls together; the others are left for the next time.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Processes; each loads the model itself. With --on ray one for each graphics card.",
    ),
]
PlaceOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ENGINE",
        help="Where the workers are: local, ray (of this machine alone), ray://HOST:PORT or ray://auto.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of methods that draw at random.")]
ExplainAgainOption = Annotated[
    bool, typer.Option("--again", help="Also calls that have just this attribution already.")
]


def attribute_calls(
    ids: IdsArgument = None,
    run: o.RunFilter = None,
    name: o.Name = None,
    kind: KindOption = None,
    since: o.Since = None,
    limit: LimitOption = 20,
    model: ModelOption = "demo",
    method: MethodOption = "auto",
    segments: Segments = "word",
    baseline: BaselineOption = "auto",
    unit: UnitOption = "nats",
    budget: Most = None,
    total_budget: TotalOption = None,
    seed: Seed = 0,
    workers: Workers = None,
    on: PlaceOption = None,
    again: ExplainAgainOption = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Find the words that made the model answer as it did, and keep them with the call."""
    from llm_trace.attribution.models.loading import resolve_model
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.stores.duckdb import open_store

    policy = AttributionPolicy(
        method=method, model=model, segments=segments, baseline=baseline, unit=unit, budget=budget, seed=seed
    )
    with open_store(store) as opened:
        if ids:
            calls = _find_named(opened, ids)
        else:
            chosen = o.build_filters(run=run, name=name, kind=kind or (None if name else "llm"), since=since)
            calls = opened.calls(**chosen, limit=limit)
        if not calls:
            exit_nothing("no call matches: choose others by --kind, --name or an id")
        spreads = on is not None or (workers or 1) > 1
        if not spreads:
            resolve_model(model)  # what is missing is said once, before anything is counted as failed
        known = set() if again else _find_known(opened, calls, policy)
        where = {"workers": workers, "place": on, "total": total_budget}
        events, stops = _explain_unknown(calls, known, policy, opened, **where)
    _report(calls, known, events, as_json=as_json, left=len(calls) - len(known) - len(events), stops=stops)


def explain_new_calls(store: "Store", policy: "AttributionPolicy", *, where: str, limit: int) -> int:
    """Explain the newest calls of models that meet a condition and that nobody tried to explain so; return
    how many could be.
    """
    method = policy.method.replace("'", "''")
    tried = f"method = '{method}' AND config_hash = '{policy.config_hash}'"
    untried = f"({where}) AND span_id NOT IN (SELECT span_id FROM attributions WHERE {tried})"
    calls = store.calls(kind="llm", status="ok", where=untried, limit=limit)
    events, stops = _explain_unknown(calls, set(), policy, store)
    if stops:
        raise KeyboardInterrupt
    return sum(event is not None and event["status"] == "ok" for event in events)


def _find_named(store: "Store", ids: "Sequence[str]") -> "list[Call]":
    return [
        store.call(span_id)
        for span_id in dict.fromkeys(find_call_argument(store, identity).span_id for identity in ids)
    ]


def _find_known(store: "Store", calls: "Sequence[Call]", policy: "AttributionPolicy") -> set[str]:
    """Return the calls that have an attribution of just this kind."""
    from llm_trace.stores.lookup import list_attributed

    return list_attributed(store, [call.span_id for call in calls], policy.method, policy.config_hash)


def _explain_unknown(
    calls: "Sequence[Call]", known: set[str], policy: "AttributionPolicy", store: "Store", **where: Any
) -> "tuple[list[dict[str, Any] | None], bool]":
    """Return the events of the calls that are not known to have an attribution, and whether somebody stopped
    it; the store has what was explained.

    Args:
        calls: to explain.
        known: those that are not.
        policy: how.
        store: what the calls are from.
        where: as `iter_events` takes it.
    """
    events: dict[str, dict[str, Any] | None] = {}
    stops = False
    try:
        unknown = [call for call in calls if call.span_id not in known]
        events.update(_explain_calls(unknown, policy, store, **where))
    except KeyboardInterrupt:
        stops = True
    store.ingest()
    return [events[call.span_id] for call in calls if call.span_id in events], stops


def _explain_calls(
    calls: "Sequence[Call]", policy: "AttributionPolicy", store: "Store", **where: Any
) -> "Iterator[tuple[str, dict[str, Any] | None]]":
    """Yield the id and event of each call (`None`: it cannot be explained), written to the spool at once."""
    import orjson
    from rich.progress import track

    from llm_trace.attribution.policy.pool import iter_events
    from llm_trace.spool.paths import get_spool_dir
    from llm_trace.spool.writer import SpoolWriter

    writer = SpoolWriter(get_spool_dir(store.path))
    events = iter_events(calls, policy, **where)
    try:
        for call, event in track(
            events,
            "explaining",
            len(calls),
            console=make_notes_console(),
            transient=True,
            disable=len(calls) < 2,
        ):
            if event is not None and not writer.write(orjson.dumps(event)[:-1]):
                raise OSError(
                    f"the attribution of {call.span_id} cannot be written to {str(writer.folder)!r}"
                )
            yield call.span_id, event
    finally:
        writer.close()


def _report(
    calls: "Sequence[Call]",
    known: set[str],
    events: "Sequence[dict[str, Any] | None]",
    *,
    as_json: bool,
    left: int,
    stops: bool,
) -> None:
    """Say what was found; leave with exit code 130 where somebody stopped it, 1 where a call failed, 3 where
    none could be explained.
    """
    explained = [event for event in events if event is not None]
    failed = [event for event in explained if event["status"] != "ok"]
    if as_json:
        print_json([{key: value for key, value in event.items() if key != "event"} for event in explained])
    else:
        _print(calls, explained, passed_over=len(events) - len(explained), known=len(known))
    if left:
        why = "stopped" if stops else "the total budget is spent"
        print_complaint(f"llm-trace: {why}, {left} calls are left: the same command goes on with them")
    if stops:
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)
    if not explained and not known and not left:
        raise typer.Exit(3)


def _print(
    calls: "Sequence[Call]", events: "Sequence[dict[str, Any]]", *, passed_over: int, known: int
) -> None:
    from llm_trace.record import Attribution

    out, names = make_console(), {call.span_id: call.name for call in calls}
    attributions = [
        Attribution.model_validate(event["attribution"]) for event in events if event["status"] == "ok"
    ]
    if len(attributions) == 1:
        print_attribution(out, attributions[0])
    for attribution in attributions if len(attributions) > 1 else ():
        head = make_plain_text(
            f"{(attribution.span_id or '')[:8]}  {names.get(attribution.span_id or '', '')}  ", "bold"
        )
        out.print(head.append(make_plain_text(attribution.summary())))
    for event in events:
        if event["status"] != "ok":
            print_complaint(f"llm-trace: {event['span_id'][:8]} cannot be explained: {event['error']}")
    counts = {
        "explained": len(attributions),
        "failed": len(events) - len(attributions),
        "without a prompt and an answer in words": passed_over,
    }
    counts["explained before (--again explains anew)"] = known
    seconds = sum(a.seconds for a in attributions)
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    print_complaint(summary + (f"; {seconds / len(attributions):.2f} s each" if attributions else ""))
