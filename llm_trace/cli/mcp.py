"""`llm-trace mcp`: the store as tools for coding agents, and the entry that makes a client start it."""

import contextlib
import difflib
import enum
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, make_plain_text, print_complaint
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.paths import make_absolute

if TYPE_CHECKING:
    from llm_trace.mcp.clients import FileChange
    from llm_trace.mcp.log import ToolLog
    from llm_trace.mcp.workbench import Workbench

EXAMPLE = "Example: llm-trace mcp install claude-code --store traces.duckdb --function app:answer"


class McpAction(enum.StrEnum):
    """What to do."""

    SERVE = "serve"
    INSTALL = "install"
    SKILL = "skill"


McpActionArgument = Annotated[
    McpAction,
    typer.Argument(
        metavar="ACTION",
        help="serve: answer a client on standard input and output, or over HTTP; install CLIENT: write the "
        "entry that makes a client start it; skill: print the skill file.",
    ),
]
ClientsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="CLIENT", help="claude-code, codex, cursor, gemini, vscode or windsurf."),
]
FunctionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--function",
        "-f",
        metavar="MODULE:FUNCTION",
        help="A function that clients may run again; may be repeated. Without it nothing runs.",
    ),
]
ExplainersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A model that may explain calls: demo (the default), a folder or a name; may be repeated.",
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", metavar="FOLDER", help="Where functions are imported from; else from here."),
]
HttpOption = Annotated[bool, typer.Option("--http", help="Serve HTTP on 127.0.0.1 instead.")]
PortOption = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="For --http; 0 takes a free one.")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="LLM_TRACE_MCP_TOKEN",
        metavar="TOKEN",
        help="That clients of --http must give; a new one is printed if absent.",
    ),
]
LogOption = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="PATH",
        help="The store that calls of tools are traced into: NAME.mcp.duckdb beside the store if absent; "
        "none for nowhere.",
    ),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The client's file, where it is not the usual.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]


def run_mcp(
    action: McpActionArgument = McpAction.SERVE,
    clients: ClientsArgument = None,
    function: FunctionOption = None,
    model: ExplainersOption = None,
    folder: FolderOption = None,
    http: HttpOption = False,
    port: PortOption = 0,
    token: TokenOption = None,
    log: LogOption = None,
    file: FileOption = None,
    yes: YesOption = False,
    store: o.StoreOption = o.STORE,
) -> None:
    """Let a coding agent ask the store by the Model Context Protocol: find a failure, its cause, the proof.

    Reads, explains and compares; runs again only what --function names.
    """
    from llm_trace.mcp.workbench import Workbench

    if clients and action is not McpAction.INSTALL:
        raise typer.BadParameter(f"{action} takes no client", param_hint="CLIENT")
    if action is McpAction.SKILL:
        from llm_trace.mcp.skill import read_skill

        typer.echo(read_skill(), nl=False)
        return
    bench = Workbench(
        make_absolute(store), functions=function or (), models=model or ("demo",),
        folder=str(folder.absolute()) if folder else None,
    )  # fmt: skip
    if action is McpAction.INSTALL:
        _install(clients or [], _list_arguments(bench, log), file, yes=yes)
        return
    with contextlib.closing(bench), _open_log(bench.path, log) as opened:
        _serve(bench, opened, port if http else None, token)


def _open_log(store: Path, log: str | None) -> "contextlib.AbstractContextManager[ToolLog | None]":
    from llm_trace.mcp.log import ToolLog, name_tool_log

    if log == "none":
        return contextlib.nullcontext()
    return ToolLog(name_tool_log(store) if log is None else make_absolute(log), store)


def _serve(bench: "Workbench", log: "ToolLog | None", port: int | None, token: str | None) -> None:
    try:
        from llm_trace.mcp.server import build_tool_server
        from llm_trace.mcp.serving import build_http_server, serve_stdio
    except ImportError as exc:
        raise MissingExtraError(f"{exc.name!r} is not installed: pip install 'llm-trace[mcp]'") from exc
    server = build_tool_server(bench, log)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        if port is None:
            serve_stdio(server)
            return
        from llm_trace.collect.server import check_token, open_listener
        from llm_trace.mcp.serving import PATH
        from llm_trace.viewer.server import make_token

        check_token("127.0.0.1", token)
        secret = token or make_token()
        with open_listener("127.0.0.1", port) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
            shown = "" if token else f"; Authorization: Bearer {secret}"
            print_complaint(f"{address} answers about {bench.path}{shown}; Ctrl-C ends")
            build_http_server(server, listener, secret).run(sockets=[listener])


def _list_arguments(bench: "Workbench", log: str | None) -> list[str]:
    """Return the arguments that start a server like this one from any folder."""
    arguments = ["--store", str(bench.path)]
    for name in bench.functions:
        arguments += ["--function", name]
    if bench.functions:
        arguments += ["--folder", bench.folder or str(Path.cwd())]
    for name in bench.models if bench.models != ("demo",) else ():
        arguments += ["--model", name]
    return (
        arguments if log is None else [*arguments, "--log", log if log == "none" else str(make_absolute(log))]
    )


def _install(names: list[str], arguments: list[str], file: Path | None, *, yes: bool) -> None:
    from llm_trace.mcp.clients import CLIENTS, build_entry, plan_install

    unknown = [name for name in names if name not in CLIENTS]
    if unknown or not names:
        what = f"{unknown[0]!r} is none of them" if unknown else "name one or several"
        raise typer.BadParameter(f"{what}: {', '.join(CLIENTS)}", param_hint="CLIENT")
    if file is not None and len(names) > 1:
        raise typer.BadParameter("a file is one client's: name one client", param_hint="--file")
    for name in names:
        client = CLIENTS[name]
        path = Path(client.file).expanduser() if file is None else file
        _write(plan_install(client, build_entry(client, arguments), path.absolute()), yes=yes)


def _write(change: "FileChange", *, yes: bool) -> None:
    """Show what changes in a file, ask, and write it."""
    if change.before == change.after:
        print_complaint(f"{change.path} has this entry already")
        return
    lines = difflib.unified_diff(
        (change.before or "").splitlines(), change.after.splitlines(),
        f"{change.path}{'' if change.before is not None else ' (new)'}", str(change.path), lineterm="",
    )  # fmt: skip
    for line in lines:
        make_console().print(make_plain_text(line), soft_wrap=True)
    if not yes and not sys.stdin.isatty():
        raise ConfigurationError("nothing was written, for nobody can be asked here: --yes writes it")
    if yes or typer.confirm("Write it?"):
        change.write()
        print_complaint(f"{change.path} is written: start the client again to use it")
