"""`llm-trace attach`: explain what is on another platform, and write the findings onto its spans."""

import contextlib
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import print_complaint, print_json
from llm_trace.cli.waiting import show_progress, stop_at_interrupt
from llm_trace.errors import ConfigurationError
from llm_trace.paths import make_absolute
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.imports.importer import ImportReport
    from llm_trace.platforms import Platform
    from llm_trace.platforms.addresses import PlatformAddress
    from llm_trace.platforms.attach import AttachState, SendReport

EXAMPLE = "Example: llm-trace attach phoenix://127.0.0.1:6006/default --model demo"

AddressArgument = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help=(
            "phoenix://host:6006/project, mlflow://host:5000/experiment, langfuse://host/project, "
            "opik://host/project or langsmith://host/project; with an s more, as in phoenixs://, over TLS."
        ),
    ),
]
ModelToExplain = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL", help="Explain new calls of models with it: demo, a folder or a name."
    ),
]
MethodToExplain = Annotated[str, typer.Option("--method", metavar="METHOD", help="auto, occlusion …")]
MostExplained = Annotated[
    int,
    typer.Option("--limit", "-n", metavar="N", min=1, help="Explain at most N calls a round, the newest."),
]
ScoresOption = Annotated[
    list[str] | None,
    typer.Option("--score", metavar="NAME", help="Write scores of this name back too. May be given again."),
]
ReadOnlyOption = Annotated[bool, typer.Option("--read-only", help="Write nothing onto the platform.")]
FollowPlatform = Annotated[bool, typer.Option("--follow", help="Go on; Ctrl-C leaves.")]
RoundInterval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.05, help="Between two rounds of --follow.")
]


def attach_platform(
    address: AddressArgument,
    model: ModelToExplain = None,
    method: MethodToExplain = "auto",
    limit: MostExplained = 100,
    score: ScoresOption = None,
    read_only: ReadOnlyOption = False,
    where: o.Where = None,
    follow: FollowPlatform = False,
    interval: RoundInterval = 10.0,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Read the traces of Phoenix, MLflow, Langfuse, Opik or LangSmith into the store, each once, explain
    them, and write verdict and top words onto their spans there. Run it again and it goes on where it was.
    """
    from llm_trace.attribution.models.loading import resolve_model
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.platforms.addresses import connect_platform, parse_platform_address
    from llm_trace.platforms.attach import load_state

    place = parse_platform_address(address)
    path = make_absolute(store)
    policy = AttributionPolicy(method=method, model=model) if model else None
    if model:
        resolve_model(model)
    state = load_state(path, place)
    go_round = partial(
        _go_round, place=place, path=path, policy=policy, where=where, limit=limit,
        scores=None if read_only else score or [], as_json=as_json,
    )  # fmt: skip
    with contextlib.closing(connect_platform(place)) as platform, stop_at_interrupt():
        go_round(platform, state)
        while follow:
            sleep(interval)
            try:
                go_round(platform, state)
            except ConfigurationError as exc:  # it may be back in the next round
                print_complaint(f"llm-trace: {exc}")


def _go_round(
    platform: "Platform", state: "AttachState", *, place: "PlatformAddress", path: "Path",
    policy: "AttributionPolicy | None", where: str | None, limit: int, scores: list[str] | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Read what is new, explain it, and write the findings back; say what was done."""
    from llm_trace.platforms.attach import SendReport, write_annotations
    from llm_trace.stores.duckdb import open_store

    report = _read(platform, state, place, path)
    explained, sent = 0, SendReport(0, {})
    if report.calls or state.cursor:
        with open_store(path) as opened:
            if policy is not None:
                from llm_trace.cli.attribute import explain_new_calls

                source = str(place).replace("'", "''")
                chosen = f"platform = '{source}' AND ({where or 'true'})"
                explained = explain_new_calls(opened, policy, where=chosen, limit=limit)
            if scores is not None:
                sent = write_annotations(platform, state, opened, str(place), scores)
    _report(place, report, explained, sent, as_json=as_json)


def _report(
    place: "PlatformAddress", report: "ImportReport", explained: int, sent: "SendReport", *, as_json: bool
) -> None:
    """Say what a round came to."""
    if as_json:
        counts = {"calls": report.calls, "known": report.known, "broken": report.broken}
        results = {"explained": explained, "written": sent.written, "refused": len(sent.refused)}
        print_json({"platform": str(place), **counts, **results})
        return
    broken = f", {report.broken:,} broken (they are in {report.broken_file})" if report.broken else ""
    print_complaint(
        f"{place}: {count_things(report.calls, 'new call')}{broken}, {explained:,} explained, "
        f"{count_things(sent.written, 'annotation')} written"
    )
    if sent.refused:
        reason = next(iter(sent.refused.values()))
        print_complaint(f"  {count_things(len(sent.refused), 'annotation')} refused, the first: {reason}")


def _read(
    platform: "Platform", state: "AttachState", place: "PlatformAddress", path: "Path"
) -> "ImportReport":
    from llm_trace.cli.import_ import build_known
    from llm_trace.imports.importer import ImportTarget
    from llm_trace.platforms.attach import read_new_traces
    from llm_trace.settings import build_spool_writer, resolve_settings

    settings = resolve_settings({})
    spool, encoder = build_spool_writer(settings, path)
    target = ImportTarget(spool, encoder, build_known(path), settings["capture_content"], source=str(place))
    with contextlib.closing(spool), show_progress("reading") as advance:
        return read_new_traces(platform, state, target, path, advance=advance)
