"""`llm-trace prompts`: the versions of each prompt template."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli import words
from llm_trace.cli.output import console, nothing, plain, print_json, print_table, table

if TYPE_CHECKING:
    from llm_trace.record import PromptVersion

NAME = "prompts"
EXAMPLE = "Example: llm-trace prompts refund"


def command(
    name: Annotated[
        str | None, typer.Argument(help="Show the templates of this prompt, and what each version changed.")
    ] = None,
    store: o.Store = o.STORE,
    as_json: o.Json = False,
) -> None:
    """List prompts and their versions with the calls that used them; with a name, show the templates."""
    from llm_trace.stores.duckdb import open_store

    with open_store(store) as opened:
        found = [p for p in opened.prompts() if name is None or p.name == name]
    if as_json:
        print_json(found)
    elif name is None and found:
        _print_table(found)
    elif found:
        _print_templates(found)
    if not found:
        nothing(
            "no prompt was recorded: llm_trace.Prompt(name, template).format(…)"
            if name is None
            else f"no prompt is called {name!r}",
            quiet=as_json,
        )


def _print_table(found: "list[PromptVersion]") -> None:
    columns: dict[str, list[Any]] = {
        "prompt": [p.name for p in found],
        "version": [f"v{p.number}" for p in found],
        "hash": [p.version for p in found],
        "calls": [f"{p.calls:,}" for p in found],
        "last used": [words.clock(p.last_ns) for p in found],
        "template": [words.one_line(p.template) for p in found],
    }
    print_table(console(), table(columns, wide=("template",), right=("calls",)))


def _print_templates(found: "list[PromptVersion]") -> None:
    """Print the first version whole and of each later one the lines that it changed."""
    import difflib

    from rich.rule import Rule

    out = console()
    before: list[str] | None = None
    for p in found:
        title = f"{p.name} v{p.number} {p.version}, {p.calls:,} calls"
        out.print(Rule(plain(title, "bold"), align="left", style="dim"))
        lines = p.template.splitlines()
        if before is None:
            out.print(plain(p.template))
        for line in [] if before is None else list(difflib.unified_diff(before, lines, n=1, lineterm=""))[2:]:
            colour = {"+": "green", "-": "red", "@": "dim"}.get(line[:1], "")
            out.print(plain(line, colour))
        before = lines
