"""The page docs/cli.md, made from the commands: `python -m llm_trace.cli.reference > docs/cli.md`."""

import sys
from typing import Any

import typer

HEAD = """# The command line

Every command reads the store that `--store` names, else the environment variable `LLM_TRACE_STORE`,
else `llm_trace.duckdb`. It first brings in what was logged until now, so it shows every call that has
returned.

- `--json` prints JSON on stdout and nothing else; remarks and errors go to stderr.
- Exit codes: 0 done, 1 an error, or in `doctor` something lost, in `replay` something differed, 2 wrong
  usage, 3 nothing was found (no store, no such id, no call that matches), 130 interrupted by Ctrl-C
  (`tail` ends with 0).
- Tables never cut a number, and say on stderr which columns they cut or leave out; `--json`, and `--wide`
  where there is one, show all.
- In a pipe tables are 120 columns wide, or `COLUMNS`; `NO_COLOR` is respected, and what colours say is
  also there in words and bars.
- Control characters in prompts and answers are shown as signs: a logged text cannot drive your terminal.

This page is made by `python -m llm_trace.cli.reference`; a test compares the two.
"""


def build_page() -> str:
    """Return the page as Markdown."""
    from llm_trace.cli.app import build_app

    group: Any = typer.main.get_command(build_app())
    names = group.list_commands(None)
    listed = "\n".join(
        f"- [`{name}`](#llm-trace-{name}): {_format_help(group.commands[name].help)}" for name in names
    )
    return "\n".join([HEAD, listed, *(_build_section(name, group.commands[name]) for name in names)])


def _build_section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(
        ["llm-trace", name, *(_format_argument(p) for p in arguments), *(["[OPTIONS]"] if options else [])]
    )
    example = (command.epilog or "").removeprefix("Example: ")
    lines = [
        f"\n## llm-trace {name}\n",
        _format_help(command.help),
        "\n```console",
        f"$ {example}",
        "```\n",
        f"`{usage}`\n",
    ]
    rows = [(f"`{_format_argument(p)}`", _format_help(p.help)) for p in arguments]
    rows += [(f"`{_format_option(p)}`", _format_help(p.help) + _format_default(p)) for p in options]
    lines += ["| | |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows)]
    return "\n".join(lines)


def _format_help(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _format_argument(parameter: Any) -> str:
    shown = parameter.metavar or parameter.name.upper()
    return shown if parameter.required else f"[{shown}]"


def _format_option(parameter: Any) -> str:
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.is_flag:
        return names + "".join(f", {name}" for name in parameter.secondary_opts)
    return f"{names} {parameter.metavar}"


def _format_default(parameter: Any) -> str:
    value = parameter.default
    if parameter.is_flag or value is None or callable(value):
        return ""
    return f" Default: `{value}`."


if __name__ == "__main__":
    sys.stdout.write(build_page())
