"""Ask a person about one call after the other."""

from typing import TYPE_CHECKING

import typer

from llm_trace.cli.output import make_console, make_plain_text
from llm_trace.rendering import formatting

if TYPE_CHECKING:
    from llm_trace.record import Call


def show_question(call: "Call", where: str) -> None:
    """Print what a call was asked and what it answered, under a line that says where one is."""
    from rich.rule import Rule

    out = make_console()
    title = make_plain_text(f"{where}  {call.name}  {call.span_id[:8]}", "bold")
    out.print(Rule(title, align="left", style="dim"))
    out.print(make_plain_text(formatting.describe_input(call)))
    answer = call.output if isinstance(call.output, str) else formatting.describe_output(call)
    out.print(make_plain_text(answer, "bold"))


def read_line(prompt: str) -> str | None:
    """Return what is typed, `None` at the end of the input."""
    typer.echo(f"{prompt}: ", nl=False)
    try:
        return input().strip()
    except EOFError:
        return None
