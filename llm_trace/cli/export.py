"""`llm-trace export`: calls as JSON lines, CSV or Parquet, or to a platform."""

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from llm_trace.cli import deliver as d
from llm_trace.cli import options as o
from llm_trace.cli.output import exit_nothing, print_complaint
from llm_trace.cli.waiting import run_limited, show_progress
from llm_trace.rendering.formatting import count_things
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_trace.stores.duckdb import Store

EXAMPLE = 'Example: llm-trace export --to jsonl --out calls.jsonl --run "refund-desk v2"'

Format = Literal["parquet", "jsonl", "csv", "dataset", "comet-archive"]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help="jsonl and csv: one call a line. parquet: a folder with a file for each table. "
        "dataset: model calls as chats for fine-tuning. comet-archive: a folder of zips for comet upload. "
        "otlp://host:4318, comet://workspace/project, opik://workspace/project: to that platform.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="The file, or with parquet and comet-archive the folder; stdout otherwise.",
    ),
]
ExportLimitOption = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N calls, the newest.")
]


TimeLimitOption = Annotated[
    float | None,
    typer.Option("--time-limit", metavar="SECONDS", min=0.001, help="Stop after so long; never if absent."),
]


def export_calls(
    to: To,
    out: Out = None,
    run: o.RunFilter = None,
    name: o.Name = None,
    kind: o.KindFilter = None,
    model: o.ModelFilter = None,
    tag: o.Tag = None,
    session: o.SessionFilter = None,
    user: o.UserFilter = None,
    status: o.StatusFilter = None,
    since: o.Since = None,
    until: o.Until = None,
    text: o.Text = None,
    where: o.Where = None,
    limit: ExportLimitOption = None,
    follow: d.FollowOption = False,
    header: d.Header = None,
    retry_rejected: d.RetryRejected = False,
    time_limit: TimeLimitOption = None,
    store: o.StoreOption = o.STORE,
) -> None:
    """Write calls to a file, newest first, or send them to a platform; parquet writes the whole store for
    DuckDB, pandas or Spark.
    """
    chosen = o.build_filters(
        run=run, name=name, kind=kind, model=model, tag=tag, session=session, user=user, status=status,
        since=since, until=until, text=text, where=where,
    )  # fmt: skip
    if "://" in to:
        more = {"retry_rejected": retry_rejected, "follow": follow}
        run_limited(time_limit, lambda: d.deliver(to, store, chosen, limit, headers=header, **more))
        return
    if follow or header or retry_rejected:
        raise typer.BadParameter(
            "--follow, --header and --retry-rejected go with an address, as otlp://host:4318"
        )
    o.check_one_of("--to", to, Format)
    if to in ("parquet", "comet-archive") and out is None:
        raise typer.BadParameter(f"{to} needs --out, a folder")
    run_limited(time_limit, lambda: _export(to, out, store, chosen, limit))


def _export(to: str, out: Path | None, path: str, chosen: dict[str, Any], limit: int | None) -> None:
    from llm_trace.stores.duckdb import open_store

    with show_progress("exporting", quiet=out is None) as report, open_store(path) as opened:
        if to == "parquet" and out is not None:
            files = opened.to_parquet(out, limit=limit, **chosen)
            print_complaint(f"{', '.join(file.name for file in files)} are in {out}")
            return
        if to == "comet-archive" and out is not None:
            count = d.archive(opened, chosen, limit, out)
            print_complaint(f"{count_things(count, 'archive')} in {out}: comet upload {out}/*.zip")
            return
        skipped: Counter[str] = Counter()
        with _open_output(out) as file:
            count = _write(file, to, opened, {**chosen, "limit": limit}, skipped, report)
    what = "example" if to == "dataset" else "call"
    if skipped:
        reasons = ", ".join(f"{reason} ({number:,})" for reason, number in skipped.most_common())
        print_complaint(f"{count_things(skipped.total(), 'call')} left out as no examples: {reasons}")
    if count == 0:
        exit_nothing("no call matches")
    if out is not None:
        print_complaint(f"{count_things(count, what)} in {out}")


@contextlib.contextmanager
def _open_output(path: Path | None) -> "Iterator[IO[str]]":
    """Give stdout, or a private file (unless it was there) that takes its name only when it is whole."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(path.name + ".part")
    try:
        with open_private(partial, "w", encoding="utf-8", newline="") as file:
            yield file
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o777)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write(
    file: "IO[str]",
    to: str,
    store: "Store",
    chosen: dict[str, Any],
    skipped: "Counter[str]",
    report: "Callable[[int], None]",
) -> int:
    """Write lines; return how many, without those that only belong to calls."""
    from llm_trace.stores import dataset, export

    if to == "dataset":
        pages = export.read_pages(store, dataset.COLUMNS, chosen, report)
        count = 0
        for count, line in enumerate(dataset.iter_examples(pages, skipped), 1):  # noqa: B007
            file.write(line)
        return count
    counts = [0]

    def report_count(count: int) -> None:
        counts.append(count)
        report(count)

    write = export.write_csv if to == "csv" else export.write_json_lines
    file.writelines(write(store, chosen, report_count))
    return counts[-1]
