"""Which options of `llm-trace eval` go with what it is asked to do: no option is ignored in silence."""

from pathlib import Path

import typer

DATASET = ("to", "from_run", "from_call", "where", "expected", "store")
SCENARIO = ("to", "from_run", "from_call", "where", "n", "store")
TEST = ("to", "scenarios", "from_call", "right", "model", "store")
FILES = {".jsonl": DATASET, ".yaml": SCENARIO, ".yml": SCENARIO, ".py": TEST}
"""Parameters that each kind of file takes."""
OF_FILES = {"to", "from_run", "from_call", "where", "expected", "right", "model"}
"""Parameters without which a function is asked."""


def refuse_unused(ctx: typer.Context, to: Path | None, *, call: str | None) -> None:
    """Refuse what was given and would be ignored.

    Raises:
        typer.BadParameter: something was; the message says what it goes with.
    """
    asked = {name for name in ctx.params if _is_asked(ctx, name)}
    if to is not None and to.suffix not in FILES:
        return  # which is wrong itself
    if to is None:
        refused, why = asked & OF_FILES, "wants --to FILE"
    else:
        refused, why = asked - set(FILES[to.suffix]), f"does not go with --to x{to.suffix}"
    if call is not None and not refused:
        refused, why = asked & {"from_run", "where"}, "does not go with --from-call, which names one call"
    for param in ctx.command.params:
        if param.name in refused:
            named = param.opts[0] if param.param_type_name == "option" else str(param.metavar)
            raise typer.BadParameter(f"{named} {why}: leave it out")
    if "retry" in asked and "resume" not in asked:
        raise typer.BadParameter("--retry wants --resume RUN: what failed in which run?")


def _is_asked(ctx: typer.Context, name: str) -> bool:
    source = getattr(ctx.get_parameter_source(name), "name", "")
    return source == "COMMANDLINE" and ctx.params[name] not in (None, ())
