"""Chat messages as the model reads them: the tokenizer's template around contents that may be perturbed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.question.segments import Region
from llm_trace.attribution.question.special_tokens import has_chat_template, list_special_texts
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_trace.record import Message

    Chat = list[dict[str, Any]]
    Write = Callable[[Chat], str]

_CALLS = ("tool_use", "tool_call")
_MARK = re.compile("\ue000([0-9]+)\ue001")
"""The number of a message between private characters, which no template knows."""


@dataclass(frozen=True)
class RenderedChat:
    """A chat as one prompt."""

    text: str
    regions: tuple[Region, ...]
    """Where the contents stand, in order."""
    templated: bool
    """Whether a chat template wrote it, special tokens included."""
    notes: tuple[str, ...] = ()


def get_content(message: Mapping[str, Any]) -> str:
    """Return the text of a message: a string, or the text parts of a list of parts."""
    body = message.get("content", message.get("parts")) or ""
    if isinstance(body, str):
        return body
    texts = [p if isinstance(p, str) else p.get("text", p.get("content")) for p in body]
    return "\n".join(t for t in texts if isinstance(t, str))


def build_template_message(record: Message) -> dict[str, Any]:
    """Return a logged message as chat templates take it: text, tool calls, the call that it answers."""
    extra = [(part.type, {"content": part.content, **(part.model_extra or {})}) for part in record.parts]
    calls = [_call(fields) for kind, fields in extra if kind in _CALLS]
    answers = [fields for kind, fields in extra if kind == "tool_call_response"]
    bodies = [answer.get("response") or answer.get("content") for answer in answers]
    texts = [record.text, *(body if isinstance(body, str) else json.dumps(body) for body in bodies if body)]
    chat: dict[str, Any] = {"role": record.role, "content": "\n".join(text for text in texts if text)}
    chat |= {"name": record.name} if record.name else {}
    chat |= {"tool_calls": calls} if calls else {}
    return chat | ({"tool_call_id": answers[0]["id"]} if answers and answers[0].get("id") else {})


def write_tool_calls(
    prompt: str | Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]], tokenizer: Any
) -> tuple[str, str]:
    """Return tool calls as the model writes them after the prompt, and how that is known in words.

    By its chat template; where that has no place for them, as JSON with name and arguments, one a line.
    """
    plain = [_call(call) for call in calls]
    if not isinstance(prompt, str) and has_chat_template(tokenizer):
        messages = [_make_plain(message) for message in prompt]
        answer = {"role": "assistant", "content": "", "tool_calls": plain}
        for form in (list, _wrap_parts):
            try:
                head = tokenizer.apply_chat_template(
                    form(messages), tokenize=False, add_generation_prompt=True
                )
                whole = tokenizer.apply_chat_template(form([*messages, answer]), tokenize=False)
            except Exception:  # noqa: BLE001  a template may raise anything
                continue
            text = _strip_special(whole.removeprefix(head), tokenizer) if whole.startswith(head) else ""
            if all(call["function"]["name"] in text for call in plain):
                return text, "the tool call is written by the model's chat template"
    functions = [call["function"] for call in plain]
    lines = [json.dumps({"name": f["name"], "arguments": f["arguments"]}) for f in functions]
    return "\n".join(lines), "the model has no form for tool calls: they are written as JSON"


def _strip_special(text: str, tokenizer: Any) -> str:
    """Return a text without the special tokens and line ends behind it."""
    ends = [mark for mark in list_special_texts(tokenizer) if mark]
    text = text.rstrip("\n")
    while end := next((mark for mark in ends if text.endswith(mark)), ""):
        text = text.removesuffix(end).rstrip("\n")
    return text


def render_chat(messages: Sequence[Mapping[str, Any]], tokenizer: Any) -> RenderedChat:
    """Return the prompt by the chat template, where contents stand in it, and notes on what does not.

    Raises:
        AttributionError: no messages, none with text, or a template that refuses them or rewrites all
            contents so that they cannot be found again.
    """
    if not any(get_content(message).strip() for message in messages):
        raise AttributionError(
            "the list of messages is empty or none has text: there is nothing to attribute to"
        )
    plain = [_make_plain(message) for message in messages]
    notes = _name_left_out(messages)
    if not has_chat_template(tokenizer):
        note = "the tokenizer has no chat template: messages were written as 'role: content' lines"
        return RenderedChat(
            *_split_lines(plain),
            False,
            (note, *_name_vanished(plain, lambda chat: _split_lines(chat)[0]), *notes),
        )

    return _apply_template(plain, tokenizer, notes)


def _apply_template(messages: Chat, tokenizer: Any, notes: tuple[str, ...]) -> RenderedChat:
    """Render by the chat template, contents as texts or, where it cannot read these, as parts."""
    refusal: Exception | None = None
    for form in (list, _wrap_parts):

        def write(chat: Chat, form: Callable[[Chat], Chat] = form) -> str:
            text: str = tokenizer.apply_chat_template(form(chat), tokenize=False, add_generation_prompt=True)
            return text

        try:
            text = write(messages)
        except Exception as exc:  # noqa: BLE001  a template may raise anything
            refusal = refusal or exc
            continue
        regions, lost = _find_regions(text, messages, write)
        if regions:
            return RenderedChat(text, regions, True, (*lost, *_name_vanished(messages, write), *notes))
    if refusal:
        raise AttributionError(
            f"the chat template refuses these messages ({refusal}): change them, or render the prompt "
            "yourself and pass it as a str"
        ) from refusal
    raise AttributionError(
        "the chat template changes the content of the messages, so their words cannot be found in the "
        "rendered prompt; render the prompt yourself and pass it as a str"
    )


def _wrap_parts(messages: Chat) -> Chat:
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]


def _make_plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its content as one text and its tool calls in the form of templates."""
    body = message.get("content", message.get("parts"))
    parts = body if isinstance(body, (list, tuple)) else ()
    calls = [_call(c) for c in message.get("tool_calls") or ()]
    calls += [_call(p) for p in parts if not isinstance(p, str) and p.get("type") in _CALLS]
    rest = {k: v for k, v in message.items() if v is not None and k not in ("parts", "tool_calls")}
    plain = {**rest, "role": str(message.get("role", "user")), "content": get_content(message)}
    return {**plain, "tool_calls": calls} if calls else plain


def _call(raw: Mapping[str, Any]) -> dict[str, Any]:
    function = raw.get("function") or raw
    arguments = function.get("arguments", function.get("input")) or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:  # not JSON: the template gets the text
            pass
    return {
        "id": raw.get("id"),
        "type": "function",
        "function": {"name": str(function.get("name", "?")), "arguments": arguments},
    }


def _name_left_out(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the parts of contents that are neither text nor tool calls."""
    bodies = [message.get("content", message.get("parts")) for message in messages]
    parts = [p for body in bodies if isinstance(body, (list, tuple)) for p in body if not isinstance(p, str)]
    others = [
        str(p.get("type", "?"))
        for p in parts
        if not isinstance(p.get("text", p.get("content")), str) and p.get("type") not in _CALLS
    ]
    return (f"parts that are no text are left out: {', '.join(others)}",) if others else ()


def _name_vanished(messages: Chat, write: Write) -> tuple[str, ...]:
    """Name the tool calls without which the prompt is the same: the model does not see them."""
    text = write(messages)
    gone = []
    for at, message in enumerate(messages):
        calls = message.get("tool_calls", [])
        for i, call in enumerate(calls):
            fewer = {**message, "tool_calls": [*calls[:i], *calls[i + 1 :]]}
            if not fewer["tool_calls"]:
                del fewer["tool_calls"]
            if _write_chat(write, [*messages[:at], fewer, *messages[at + 1 :]]) == text:
                gone.append(call["function"]["name"])
    return (f"the chat template leaves out tool calls: {', '.join(gone)}",) if gone else ()


def _write_chat(write: Write, messages: Chat) -> str | None:
    try:
        return write(messages)
    except Exception:  # noqa: BLE001  a template may raise anything
        return None


def _split_lines(messages: Chat) -> tuple[str, tuple[Region, ...]]:
    text, regions = "", []
    for message in messages:
        text += f"{message['role']}: "
        if message["content"]:
            regions.append(Region(len(text), len(text) + len(message["content"]), message["role"]))
        text += f"{message['content']}\n"
    return text + "assistant:", tuple(regions)


def _find_regions(text: str, messages: Chat, write: Write) -> tuple[tuple[Region, ...], tuple[str, ...]]:
    """Find the contents in the rendered text: the template is given each with a mark behind it, behind its
    last visible character, or the mark instead of it, and the way that gives the same text without the
    marks shows the places. Where no way does for all, each message is looked for alone, and a note names
    those whose content does not stand there as it is.
    """
    bare = _write_chat(
        write, [{**m, "content": _mark_instead(i, m["content"])} for i, m in enumerate(messages)]
    )
    before = _split_before(bare or "")
    for mark in (_mark_behind, _mark_inside, _mark_instead):
        marked = [{**m, "content": mark(i, m["content"])} for i, m in enumerate(messages)]
        rendered = _write_chat(write, marked)
        if rendered is None:
            continue
        regions = _locate_regions(rendered, text, messages, before, put=mark is _mark_instead)
        if regions is not None:
            return regions, ()
    numbers = [i for i, m in enumerate(messages) if m["content"].strip()]
    places = {i: _place(i, text, messages, write) for i in numbers}
    lost = [f"{i} ({messages[i]['role']})" for i in numbers if places[i] is None]
    note = (
        "the chat template changes, repeats or leaves out what these messages say, which is not perturbed: "
        f"{', '.join(lost)}"
    )
    standing = [place for place in places.values() if place is not None]
    return tuple(sorted(standing, key=lambda region: region.start)), (note,) if lost else ()


def _place(at: int, text: str, messages: Chat, write: Write) -> Region | None:
    """Return where one message stands: between what the template writes before and after a mark in its
    place, one of which at least must be as it was.
    """
    message = messages[at]
    got = _write_chat(
        write, [*messages[:at], {**message, "content": f"\ue000{at}\ue001"}, *messages[at + 1 :]]
    )
    before, mark, after = (got or "").partition(f"\ue000{at}\ue001")
    if not mark or f"\ue000{at}\ue001" in after:
        return None
    bodies = (message["content"], message["content"].rstrip(), message["content"].strip())
    for body in bodies:
        if text.startswith(before + body):
            return Region(len(before), len(before) + len(body), message["role"])
    for body in bodies:
        if text.endswith(body + after):
            return Region(len(text) - len(after) - len(body), len(text) - len(after), message["role"])
    return None


def _mark_behind(at: int, body: str) -> str:
    return f"{body}\ue000{at}\ue001" if body.strip() else body


def _mark_inside(at: int, body: str) -> str:
    core = body.rstrip()
    return _mark_behind(at, core) + body[len(core) :]


def _mark_instead(at: int, body: str) -> str:
    return f"\ue000{at}\ue001" if body.strip() else body


def _split_before(bare: str) -> dict[int, str]:
    """Return what the template writes before each content, of its text with marks in place of contents."""
    before, done = {}, 0
    for match in _MARK.finditer(bare):
        before[int(match[1])] = bare[done : match.start()]
        done = match.end()
    return before


def _locate_regions(
    marked: str, text: str, messages: Chat, before: Mapping[int, str], *, put: bool
) -> tuple[Region, ...] | None:
    """Return the regions before the marks, when the text without marks is the one that was to be found.

    Args:
        before: what the template itself writes before each content: white space there is not the content's.
        put: marks stand for contents.
    """
    out, done, regions, seen = "", 0, [], []
    for match in _MARK.finditer(marked):
        message = messages[int(match[1])]
        core = message["content"].strip()
        out += marked[done : match.start()] + (core if put else "")
        bodies = (message["content"], message["content"].rstrip(), core)
        fitting = [b for b in bodies if out.endswith(b)]
        if not fitting:
            return None
        template = before.get(int(match[1]), "")
        body = next((b for b in fitting if out[: len(out) - len(b)].endswith(template)), fitting[0])
        regions.append(Region(len(out) - len(body), len(out), message["role"]))
        seen.append(int(match[1]))
        done = match.end()
    numbers = [i for i, m in enumerate(messages) if m["content"].strip()]
    return tuple(regions) if out + marked[done:] == text and sorted(seen) == numbers else None
