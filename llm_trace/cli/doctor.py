"""`llm-trace doctor`: what is configured, where everything lies, what is pending and whether anything was lost."""

from typing import Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.examine import examine
from llm_trace.cli.output import console, plain, print_json
from llm_trace.cli.words import size

NAME = "doctor"
EXAMPLE = "Example: llm-trace doctor --store traces.duckdb"


def command(store: o.Store = o.STORE, as_json: o.Json = False) -> None:
    """Examine store, spool and installation; changes nothing. Exit code 1 means that something was lost or cannot be read."""
    found = examine(store)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["problems"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    out = console()
    for part in ("store", "spool", "destinations", "environment", "versions"):
        out.print(plain(part, "bold"))
        for name, value in found[part].items():
            out.print(plain(f"  {name:<28} ", "dim").append(plain(_shown(name, value))), overflow="fold")
    for remark in found["remarks"]:
        out.print(plain("! ", "yellow").append(plain(remark)))
    for problem in found["problems"]:
        out.print(plain("✗ ", "red").append(plain(problem)))
    if not found["problems"]:
        out.print(plain("✓ nothing is known to be lost", "green"))


def _shown(name: str, value: Any) -> str:
    if "://" in name:
        counts = (f"{value[count]:,} {count}" for count in ("delivered", "pending", "rejected", "dropped"))
        return ", ".join(counts) + (f"; {value['said']}" if value["said"] else "")
    if value is None:
        return "not set" if name.startswith("LLM_TRACE_") else "not installed" if name.islower() else "–"
    if name in ("bytes", "pending", "free") and isinstance(value, int):
        return size(value)
    if isinstance(value, list):
        return "\n".join(_writer(item) if isinstance(item, dict) else str(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{count:,} x {reason}" for reason, count in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _writer(item: dict[str, Any]) -> str:
    return f"process {item['pid']} on {item['host']} ({item['file']})"
