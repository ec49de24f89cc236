"""The commands of `llm-trace` in the order in which its help lists them, and what an error becomes.

Exit codes: 0 done, 1 an error, 2 wrong usage, 3 nothing was found, 130 interrupted by Ctrl-C (`tail` ends
with 0).
"""

import contextlib
import importlib
import io
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llm_trace.cli.output import INTERRUPTED, print_complaint
from llm_trace.cli.waiting import hear_ctrl_c
from llm_trace.errors import LLMTraceError, MissingExtraError, NotFoundError, StoreNotFoundError

ERROR, NOTHING = 1, 3
OPTIONAL = ("numpy", "scipy", "torch", "transformers")
"""Libraries that a plain installation lacks."""
LOCAL = ("demo", "methods", "proxy", "attribute")
"""Commands that want all of them; the others do statistics."""

HELP = "Look at what your LLM calls did, and which words made them do it."
EPILOG = "Exit codes: 0 done, 1 error, 2 wrong usage, 3 nothing found. Begin with: llm-trace demo"


class Commands(TyperGroup):
    """The group of commands; an error of ours is one line on stderr and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (StoreNotFoundError, NotFoundError) as exc:
            raise _exit_failed(exc, NOTHING) from exc
        except LLMTraceError as exc:
            raise _exit_failed(exc, ERROR) from exc
        except ModuleNotFoundError as exc:
            if exc.name is None or exc.name.partition(".")[0] not in OPTIONAL:
                raise
            extras = {**dict.fromkeys(LOCAL, "local"), "eval": "evaluation"}
            extra = extras.get(ctx.invoked_subcommand, "statistics")
            message = f"{ctx.invoked_subcommand} needs {exc.name}: pip install 'llm-trace[{extra}]'"
            raise _exit_failed(MissingExtraError(message), ERROR) from exc
        except BrokenPipeError:  # `llm-trace ls | head`: typer ends quietly
            raise
        except OSError as exc:
            raise _exit_failed(exc, ERROR) from exc
        except RuntimeError as exc:
            if str(exc) != INTERRUPTED:
                raise
            raise KeyboardInterrupt from exc


def _exit_failed(exc: Exception, code: int) -> typer.Exit:
    print_complaint(f"llm-trace: {exc}")
    return typer.Exit(code)


COMMANDS = {
    "demo": "demo:run_demo",
    "ls": "ls:list_calls",
    "show": "show:show_call",
    "runs": "runs:list_runs",
    "prompts": "prompts:list_prompts",
    "tail": "tail:follow_calls",
    "view": "view:run_viewer",
    "attribute": "attribute:attribute_calls",
    "compare": "compare:compare_runs",
    "eval": "eval_:evaluate_function",
    "report": "report:write_report",
    "replay": "replay:replay_run",
    "bisect": "bisect:run_bisect",
    "why": "why:explain_decision",
    "annotate": "annotate:annotate_calls",
    "gate": "gate:run_gate",
    "review": "review:review_calls",
    "worth": "worth:print_worth",
    "methods": "methods:run_methods",
    "proxy": "proxy:run_proxy",
    "diet": "diet:run_diet",
    "optimize": "optimize:run_optimize",
    "watch": "watch:run_watch",
    "rules": "rules:run_rules",
    "stages": "stages:run_stages",
    "sql": "sql:run_sql",
    "mcp": "mcp:run_mcp",
    "export": "export:export_calls",
    "import": "import_:import_files",
    "attach": "attach:attach_platform",
    "collect": "collect:run_collect",
    "ingest": "ingest:run_ingest",
    "ship": "ship:ship_calls",
    "compact": "compact:compact_files",
    "doctor": "doctor:run_doctor",
    "purge": "purge:purge_calls",
}
"""Module and function of each command, in the order in which the help lists them."""


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with the commands of these names; the modules of others are not imported."""
    app = typer.Typer(
        name="llm-trace",
        cls=Commands,
        help=HELP,
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # their tracebacks print local variables: prompts, keys
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_set_common)
    for name in names:
        place, _, function = COMMANDS[name].partition(":")
        module = importlib.import_module(f"llm_trace.cli.{place}")
        app.command(name, epilog=module.EXAMPLE)(getattr(module, function))
    return app


def _print_version(requested: bool) -> None:
    if requested:
        from llm_trace.version import __version__

        typer.echo(f"llm-trace {__version__}")
        raise typer.Exit


def _set_common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave."),
    ] = False,
) -> None:
    pass


def run_app() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a sign shows its code
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")
    command = sys.argv[1:2]
    with hear_ctrl_c():
        build_app(command if set(command) <= COMMANDS.keys() and command else COMMANDS)(prog_name="llm-trace")
