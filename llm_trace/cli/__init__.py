"""The command line `llm-trace`.

A command is a module with `EXAMPLE` and a typer function, listed in `app`, and imported when it is asked
for; `options` has what commands share, `output` prints, and `python -m llm_trace.cli.reference` writes
docs/cli.md.
"""


def main() -> None:
    """Run the command line; what it needs is imported now, so that importing this package costs nothing."""
    from llm_trace.capture import slots
    from llm_trace.cli.app import run_app

    slots.undo_instrumentation()  # the command line's own calls of models are nobody's program
    run_app()
