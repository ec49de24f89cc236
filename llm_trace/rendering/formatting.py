"""Short forms for people: texts on one line, times, durations, tokens, costs, sizes."""

import json
import time
from typing import TYPE_CHECKING

from llm_trace.rendering.tool_requests import ToolRequest, list_requests

if TYPE_CHECKING:
    from llm_trace.rendering.shapes import ShownCall


def format_one_line(value: object, most: int = 200) -> str:
    """Return a value on one line of at most `most` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    shown = " ".join(text[: 4 * most].split())
    return shown if len(shown) <= most and len(text) <= 4 * most else shown[: most - 1] + "…"


def describe_input(call: "ShownCall") -> str:
    """Return what sets this call's input apart on one line."""
    return " · ".join(map(format_one_line, choose_input(call)))


def choose_input(call: "ShownCall") -> list[object]:
    """Return what sets this call's input apart: the values of the prompt's variables, the last message, or
    the values of its arguments.
    """
    if call.prompt is not None and call.prompt.variables:
        return list(call.prompt.variables.values())
    texts = [message.text for message in call.messages_in if message.text]
    if texts:
        return [texts[-1]]
    if call.input is None:
        return []
    return list(call.input.values()) if isinstance(call.input, dict) else [call.input]


def describe_output(call: "ShownCall") -> str:
    """Return the output on one line: what a model said, else the tools that it asked for; or the error."""
    output = choose_output(call)
    if not isinstance(output, str) and (requests := list_requests(call.messages_out)):
        return format_one_line(f"asks for {', '.join(map(_describe_request, requests))}")
    return "" if output is None else format_one_line(output)


def _describe_request(request: ToolRequest) -> str:
    asked = request.arguments
    if not isinstance(asked, dict):
        return f"{request.name}({'' if asked is None else format_one_line(asked, 60)})"
    return f"{request.name}({', '.join(f'{name}: {format_one_line(asked[name], 60)}' for name in asked)})"


def choose_output(call: "ShownCall") -> object:
    """Return what the call answered: its output, the last message of it, or the error where there is none."""
    if call.output is None and call.error is not None:
        return f"{call.error.type}: {call.error.message or ''}"
    texts = [message.text for message in call.messages_out if message.text]
    return texts[-1] if texts and not isinstance(call.output, str) else call.output


def format_clock(ns: int | None, now: float | None = None) -> str:
    """Return a local time as short as can be told from now: 09:30:12, 11-21 09:30 or 2025-11-21."""
    if ns is None:
        return ""
    then, today = time.localtime(ns / 1e9), time.localtime(time.time() if now is None else now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M:%S", then)
    return time.strftime("%m-%d %H:%M" if then[0] == today[0] else "%Y-%m-%d", then)


def format_hour(ns: int) -> str:
    """Return a local time of day, 09:30:12."""
    return time.strftime("%H:%M:%S", time.localtime(ns / 1e9))


def format_duration(ns: float | None) -> str:
    """Return a duration: 950 µs, 12 ms, 1.2 s, 3 min 5 s."""
    if ns is None:
        return ""
    for limit, unit, name in ((1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if ns < 0.9995 * limit:
            value = ns / unit
            return f"{value:.0f} {name}" if value >= 10 else f"{value:.2g} {name}"
    if ns < 60e9:
        return f"{ns / 1e9:.1f} s"
    minutes, rest = divmod(round(ns / 1e9), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_tokens(read: int | None, written: int | None) -> str:
    """Return tokens in and out: 89→2, with ? for what was not reported."""
    if read is None and written is None:
        return ""
    return "→".join("?" if n is None else f"{n:,}" for n in (read, written))


def format_cost(usd: float | None) -> str:
    """Return dollars with as many digits as say something."""
    return "" if usd is None else f"${usd:,.2f}" if usd >= 1 else f"${usd:.2g}" if usd else "$0"


def format_size(count: float) -> str:
    """Return bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"


def count_things(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 pair` and `1,200 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
