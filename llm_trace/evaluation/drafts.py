"""From logged calls to a scenario file that an expert completes: what may vary is a slot already."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.draft_slots import DraftSlots, quote
from llm_trace.evaluation.expressions import is_template
from llm_trace.evaluation.marks import find_marks, is_short
from llm_trace.record import Call

BLANK = "FILL_IN"
"""Stands where the expert writes; no slot has this name, so a file with it is refused with the line."""
LONGEST_ANSWER = 200
_STRUCTURE = frozenset(("role", "type", "id", "name", "model", "tool_call_id"))
"""Keys of messages whose texts are no prose."""
_HEAD = f"""\
# Drafted from logged calls, for whoever knows the field to complete:
#   1. {BLANK}: write the right answer as an expression of the slots; until then the file is refused.
#   2. The slots: is the range right, does it vary at all? What does not, write back into the text.
#   3. What is commented out: edits that leave or change the answer, and what it rests on.
# Then: llm-trace eval THIS_FILE module:function
scenarios:
"""
_FURTHER = """\
# decisive: [{first}]  # the slots that the answer rests on
# constraints: [{first} != ...]
# preserving:
#   - id: other words
#     input: {{...}}  # the same question, worded otherwise
# changing:
#   - id: other answer
#     slots: {{{first}: ...}}  # another value by which the answer changes
"""


def draft_scenarios(calls: Sequence[Call]) -> str:
    """Return the text of a scenario file with a scenario for each call, in their order.

    Values of prompt variables, names, numbers and dates become slots. What `expected` is only an expert
    knows: it reads FILL_IN, and the file loads as soon as that is replaced.

    Raises:
        ConfigurationError: there are no calls, or one has no arguments that were kept.
        MissingExtraError: PyYAML or Jinja is not installed.
    """
    if not calls:
        raise ConfigurationError("no call matches: nothing to draft a scenario from")
    return _HEAD + "\n".join("  - " + _indent(_draft_scenario(call), 4).lstrip(" ") for call in calls)


def _indent(text: str, blanks: int) -> str:
    return "\n".join(" " * blanks + line if line.strip(" ") else line for line in text.split("\n"))


def _draft_scenario(call: Call) -> str:
    slots = DraftSlots()
    variables = {name: str(value) for name, value in (call.prompt.variables if call.prompt else {}).items()}
    arguments = {
        name: _mark_argument(name, value, variables, slots) for name, value in _read_input(call).items()
    }
    lines = [
        f"id: {quote(f'{call.name} {call.span_id[:8]}'.replace('/', '.'))}",
        f"about: {quote(f'Drafted from call {call.span_id}.')}",
        *(["slots:"] if slots.lines else []),
        *(f"  {name}: {line}" for name, line in slots.lines.items()),
        "input:",
        _indent(_dump(arguments), 2).rstrip("\n"),
        f"# The call answered {quote(_shorten(call.output))}. For a fixed text: \"'...'\"",
        f"expected: {BLANK}",
        _FURTHER.format(first=next(iter(slots.lines), "slot")),
    ]
    return "\n".join(lines)


def _read_input(call: Call) -> Mapping[str, Any]:
    arguments = call.input if isinstance(call.input, Mapping) else {"input": call.input}
    if not arguments or call.input is None:
        raise ConfigurationError(
            f"call {call.span_id} ({call.name}) has no input that was kept: choose another"
        )
    return arguments


def _mark_argument(name: str, value: Any, variables: Mapping[str, str], slots: DraftSlots) -> Any:
    if isinstance(value, str):
        if is_short(value) and not find_marks(value, variables):
            return _as_slot(slots.add(name, value, "variable"))
        return _mark_text(value, variables, slots)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _as_slot(slots.add(name, value, "number"))
    return _mark_inside(value, variables, slots)


def _mark_inside(value: Any, variables: Mapping[str, str], slots: DraftSlots, key: str = "") -> Any:
    if isinstance(value, str):
        return _escape(value) if key in _STRUCTURE else _mark_text(value, variables, slots)
    if isinstance(value, Mapping):
        return {str(k): _mark_inside(item, variables, slots, str(k)) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mark_inside(item, variables, slots, key) for item in value]
    return value


def _mark_text(text: str, variables: Mapping[str, str], slots: DraftSlots) -> str:
    """Return a text as a template in which what may vary is a slot."""
    marks = find_marks(text, variables)
    pieces, end = [], 0
    for mark in marks:
        value = text[mark.start : mark.end]
        slot = slots.add(mark.name, value, mark.kind)
        whole = len(value) == len(text) and mark.kind == "number"  # alone a number would stay no text
        pieces += [_escape(text[end : mark.start]), f"{{{{ {slot}|string }}}}" if whole else _as_slot(slot)]
        end = mark.end
    return _keep_blanks("".join([*pieces, _escape(text[end:])]), text)


def _as_slot(name: str) -> str:
    return f"{{{{ {name} }}}}"


def _escape(text: str) -> str:
    """Return a template that gives the text, whatever template follows it."""
    signs = re.compile(r"\{(?=[{%#\r]|\n?\Z)|\r")
    return signs.sub(lambda sign: '{{ "{" }}' if sign[0] == "{" else r'{{ "\r" }}', text)


def _keep_blanks(template: str, text: str) -> str:
    """Return the template so that no blank or new line at an end of the text is lost."""
    if not is_template(template):
        return template
    if template.endswith("\n"):
        template = template[:-1] + r'{{ "\n" }}'
    return template if template.strip() == template and "\n" not in text[-1:] else '{{ "" }}' + template


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_ANSWER else f"{text[: LONGEST_ANSWER - 1]}…"


def _dump(arguments: Mapping[str, Any]) -> str:
    """Return arguments as YAML in which texts of several lines stand as they are."""
    import yaml

    blocks: Any = type("BlockDumper", (yaml.SafeDumper,), {})

    def write_text(dumper: Any, text: str) -> Any:
        plain = all(line.isprintable() for line in text.split("\n"))
        style = '"' if not plain else "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    blocks.add_representer(str, write_text)
    return str(yaml.dump(dict(arguments), Dumper=blocks, sort_keys=False, allow_unicode=True, width=1 << 20))
