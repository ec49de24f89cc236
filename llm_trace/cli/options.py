"""Options that several commands share."""

import typing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli.times import parse_moment_option

if TYPE_CHECKING:
    from collections.abc import Iterable

STORE = "llm_trace.duckdb"

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="LLM_TRACE_STORE",
        metavar="PATH",
        help="The store: the file that configure() was given.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Wide = Annotated[
    bool,
    typer.Option("--wide", help="Print every column whole, on lines as long as they need."),
]
RunFilter = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Only calls of this run: its name or id.")
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only calls of this function.")]
KindFilter = Annotated[
    str | None,
    typer.Option(
        "--kind", metavar="KIND", help="Only calls of this kind: llm, chain, tool, retriever, agent …"
    ),
]
ModelFilter = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Only calls of this model.")
]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only calls with this tag.")]
SessionFilter = Annotated[
    str | None, typer.Option("--session", metavar="SESSION", help="Only calls of this session.")
]
UserFilter = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only calls for this user.")]
StatusFilter = Annotated[
    str | None,
    typer.Option(
        "--status", metavar="STATUS", help="Only calls that are ok, error, cancelled, interrupted or open."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only calls since then: 30m, 2h, 3d, or a time such as 2026-11-21T09:30.",
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only calls before then; as --since.")
]
Text = Annotated[
    str | None,
    typer.Option("--text", metavar="TEXT", help="Only calls with this text in the prompt or the answer."),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="SQL", help="Only calls that meet this condition: cost_usd > 0.1."),
]


def check_one_of(option: str, value: str | None, literal: object) -> str | None:
    """Return the value if the `Literal` has it.

    Raises:
        typer.BadParameter: it has not; the message lists what there is.
    """
    choices: Iterable[str] = typing.get_args(literal)
    if value is not None and value not in choices:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(choices)}", param_hint=option)
    return value


def build_filters(**filters: Any) -> dict[str, Any]:
    """Return the filters as arguments of `Store.calls`.

    Raises:
        typer.BadParameter: a kind, status or time that does not exist.
    """
    from llm_trace.record import Kind, Status

    check_one_of("--kind", filters.get("kind"), Kind)
    check_one_of("--status", filters.get("status"), Status)
    filters["since"] = parse_moment_option(filters.get("since"), "--since")
    filters["until"] = parse_moment_option(filters.get("until"), "--until")
    return {name: value for name, value in filters.items() if value is not None}
