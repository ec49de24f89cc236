"""The command line `llm-trace`."""


def main() -> None:
    """Run the command line; what it needs is imported now, so that importing this package costs nothing."""
    from llm_trace.cli.app import run_app

    run_app()
