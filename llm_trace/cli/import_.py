"""`llm-trace import`: bring files of other tools into the store."""

import contextlib
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import exit_nothing, print_complaint, print_json
from llm_trace.cli.waiting import show_progress
from llm_trace.imports.formats import FORMATS
from llm_trace.paths import make_absolute
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.imports.importer import ImportReport, KnownCalls

EXAMPLE = "Example: llm-trace import traces.json --store traces.duckdb"
MOST = 8
"""Keys that were not understood, shown a file."""


FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE…",
        help=(
            "JSON, JSON Lines, CSV or Parquet, .gz too; zips of data exports. A folder that export --to "
            "parquet wrote. Or comet://workspace/project, which is downloaded to a file here first."
        ),
    ),
]
FormOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"One of {', '.join(FORMATS)}; found out from the content otherwise.",
    ),
]


def import_files(
    files: FilesArgument,
    form: FormOption = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Bring calls out of files of OpenTelemetry, Langfuse, LangSmith, Phoenix, Weave, LiteLLM and others,
    sessions of coding agents, or plain ones, into the store; twice does no harm.
    """
    from llm_trace.errors import ConfigurationError
    from llm_trace.imports.importer import ImportTarget, import_file
    from llm_trace.settings import build_spool_writer, resolve_settings
    from llm_trace.stores.duckdb import open_store

    if form is not None and form not in FORMATS:
        raise typer.BadParameter(f"{form!r} is none of {', '.join(FORMATS)}", param_hint="--format")
    paths = [_resolve_file(text) for text in files]
    path, settings = make_absolute(store), resolve_settings({})
    spool, encoder = build_spool_writer(settings, path)
    target = ImportTarget(spool, encoder, build_known(path), settings["capture_content"])
    reports: list[ImportReport] = []
    refused = 0
    with contextlib.closing(spool), show_progress("importing") as advance:
        for file in paths:
            try:
                reports.append(import_file(file, target, using=form))
            except ConfigurationError as exc:  # the other files have nothing to do with it
                print_complaint(str(exc))
                refused += 1
            advance(sum(done.calls for done in reports))
    if any(report.calls for report in reports):
        open_store(path)
    if as_json:
        print_json([asdict(report) for report in reports])
    else:
        for report in reports:
            _print(report)
    if refused:
        raise typer.Exit(1)
    if not any(report.calls + report.known for report in reports):
        exit_nothing("no call was found")


def _resolve_file(text: str) -> Path:
    """Return the file that an argument names, or that what it names was downloaded to."""
    if text.startswith("comet://"):
        from llm_trace.imports.comet_download import download

        return download(text, Path())
    from llm_trace.stores.parquet import is_parquet_export

    path = Path(text)
    if not path.is_file() and not is_parquet_export(path):
        raise typer.BadParameter(f"there is no file {text!r}", param_hint="FILE…")
    return path


def build_known(path: Path) -> "KnownCalls":
    """Return a function that tells which calls the store has."""
    from llm_trace.errors import StoreNotFoundError
    from llm_trace.stores.duckdb import open_store
    from llm_trace.stores.lookup import list_known

    try:
        store = open_store(path)
    except StoreNotFoundError:
        return lambda _: set()
    return partial(list_known, store)


def _print(report: "ImportReport") -> None:
    known = f", {report.known:,} there already" if report.known else ""
    scores = f", {count_things(report.scores, 'score')}" if report.scores else ""
    new = count_things(report.calls, "new call")
    print_complaint(f"{report.file} ({report.format or 'empty'}): {new}{known}{scores}")
    if report.not_understood:
        most = sorted(report.not_understood.items(), key=lambda item: -item[1])[:MOST]
        more = len(report.not_understood) - len(most)
        shown = ", ".join(f"{name} ({count:,})" for name, count in most) + (
            f" and {more} more" if more > 0 else ""
        )
        print_complaint(f"  not understood, kept in metadata under 'import': {shown}")
    if report.left_out:
        shown = ", ".join(f"{kind} ({number:,})" for kind, number in report.left_out.items())
        print_complaint(f"  no part of a call, left out: {shown}")
    if report.broken:
        print_complaint(
            f"  {count_things(report.broken, 'broken record')}: in {report.broken_file}, with the reasons"
        )
    if report.cut:
        print_complaint(
            f"  the file is cut: {report.cut}. What is whole before that is imported; get the file again "
            f"and import it, what is there stays"
        )
