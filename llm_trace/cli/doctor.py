"""`llm-trace doctor`: what is configured, where everything lies, what is pending, what was lost."""

from typing import Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, make_plain_text, print_json
from llm_trace.examination import examine
from llm_trace.rendering.formatting import format_size

EXAMPLE = "Example: llm-trace doctor --store traces.duckdb"


def run_doctor(store: o.StoreOption = o.STORE, as_json: o.JsonOption = False) -> None:
    """Examine store, spool and installation; changes nothing.
    Exit code 1 means that something was lost or cannot be read.
    """
    report = examine(store)
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def _print(report: dict[str, Any]) -> None:
    out = make_console()
    for part in ("store", "spool", "destinations", "environment", "versions", "libraries"):
        out.print(make_plain_text(part, "bold"))
        for name, value in report[part].items():
            out.print(
                make_plain_text(f"  {name:<28} ", "dim").append(make_plain_text(_format_fact(name, value))),
                overflow="fold",
            )
    for remark in report["remarks"]:
        out.print(make_plain_text("! ", "yellow").append(make_plain_text(remark)))
    for problem in report["problems"]:
        out.print(make_plain_text("✗ ", "red").append(make_plain_text(problem)))
    if not report["problems"]:
        out.print(make_plain_text("✓ nothing is known to be lost", "green"))


def _format_fact(name: str, value: Any) -> str:
    if "://" in name:
        counts = (f"{value[count]:,} {count}" for count in ("delivered", "pending", "rejected", "dropped"))
        return ", ".join(counts) + (f"; {value['said']}" if value["said"] else "")
    if value is None:
        return "not set" if name.startswith("LLM_TRACE_") else "not installed" if name.islower() else "–"
    if name in ("bytes", "bytes in the lake", "pending", "free") and isinstance(value, int):
        return format_size(value)
    if isinstance(value, list):
        return (
            "\n".join(_format_writer(item) if isinstance(item, dict) else str(item) for item in value)
            or "none"
        )
    if isinstance(value, dict):
        return ", ".join(f"{count:,} x {reason}" for reason, count in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _format_writer(item: dict[str, Any]) -> str:
    return f"process {item['pid']} on {item['host']} ({item['file']})"
