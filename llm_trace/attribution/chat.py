"""Chat messages as the model reads them: the tokenizer's template around contents that may be perturbed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.segments import Region
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


def content(message: Mapping[str, Any]) -> str:
    """Return the text of a message: a string, or the text parts of a list of parts."""
    body = message.get("content", message.get("parts")) or ""
    if isinstance(body, str):
        return body
    texts = [p if isinstance(p, str) else p.get("text", p.get("content")) for p in body]
    return "\n".join(t for t in texts if isinstance(t, str))


def message_of(record: Message) -> dict[str, Any]:
    """Return a logged message as chat templates take it: its text, its tool calls, the call that it answers."""
    extra = [(part.type, {"content": part.content, **(part.model_extra or {})}) for part in record.parts]
    calls = [_call(fields) for kind, fields in extra if kind in _CALLS]
    answers = [fields for kind, fields in extra if kind == "tool_call_response"]
    said = [answer.get("response") or answer.get("content") for answer in answers]
    texts = [record.text, *(s if isinstance(s, str) else json.dumps(s) for s in said if s)]
    chat: dict[str, Any] = {"role": record.role, "content": "\n".join(text for text in texts if text)}
    chat |= {"name": record.name} if record.name else {}
    chat |= {"tool_calls": calls} if calls else {}
    return chat | ({"tool_call_id": answers[0]["id"]} if answers and answers[0].get("id") else {})


def rendered(messages: Sequence[Mapping[str, Any]], tokenizer: Any) -> RenderedChat:
    """Return the prompt by the chat template, the regions of the contents in it, and notes on what is not in it.

    Raises:
        AttributionError: no messages, none with text, or a template that refuses them or rewrites the contents so that they cannot be
            found again.
    """
    if not any(content(message).strip() for message in messages):
        raise AttributionError(
            "the list of messages is empty or none has text: there is nothing to attribute to"
        )
    plain = [_plain(message) for message in messages]
    notes = _left_out(messages)
    if not getattr(tokenizer, "chat_template", None):
        note = "the tokenizer has no chat template: messages were written as 'role: content' lines"
        return RenderedChat(
            *_lines(plain), False, (note, *_vanished(plain, lambda chat: _lines(chat)[0]), *notes)
        )

    def write(chat: Chat) -> str:
        text: str = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text

    try:
        text = write(plain)
    except Exception as exc:
        raise AttributionError(
            f"the chat template refuses these messages ({exc}): change them, or render the prompt yourself and pass it as a str"
        ) from exc
    return RenderedChat(text, _regions(text, plain, write), True, (*_vanished(plain, write), *notes))


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its content as one text and its tool calls in the one form that templates share."""
    body = message.get("content", message.get("parts"))
    parts = body if isinstance(body, (list, tuple)) else ()
    calls = [_call(c) for c in message.get("tool_calls") or ()]
    calls += [_call(p) for p in parts if not isinstance(p, str) and p.get("type") in _CALLS]
    rest = {k: v for k, v in message.items() if v is not None and k not in ("parts", "tool_calls")}
    plain = {**rest, "role": str(message.get("role", "user")), "content": content(message)}
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


def _left_out(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the parts of contents that are neither text nor tool calls."""
    bodies = [message.get("content", message.get("parts")) for message in messages]
    parts = [p for body in bodies if isinstance(body, (list, tuple)) for p in body if not isinstance(p, str)]
    others = [
        str(p.get("type", "?"))
        for p in parts
        if not isinstance(p.get("text", p.get("content")), str) and p.get("type") not in _CALLS
    ]
    return (f"parts that are no text are left out: {', '.join(others)}",) if others else ()


def _vanished(messages: Chat, write: Write) -> tuple[str, ...]:
    """Name the tool calls without which the prompt is the same: the model does not see them."""
    text = write(messages)
    gone = []
    for at, message in enumerate(messages):
        calls = message.get("tool_calls", [])
        for i, call in enumerate(calls):
            fewer = {**message, "tool_calls": [*calls[:i], *calls[i + 1 :]]}
            if not fewer["tool_calls"]:
                del fewer["tool_calls"]
            if _written(write, [*messages[:at], fewer, *messages[at + 1 :]]) == text:
                gone.append(call["function"]["name"])
    return (f"the chat template leaves out tool calls: {', '.join(gone)}",) if gone else ()


def _written(write: Write, messages: Chat) -> str | None:
    try:
        return write(messages)
    except Exception:  # noqa: BLE001  a template may raise anything
        return None


def _lines(messages: Chat) -> tuple[str, tuple[Region, ...]]:
    text, regions = "", []
    for message in messages:
        text += f"{message['role']}: "
        if message["content"]:
            regions.append(Region(len(text), len(text) + len(message["content"]), message["role"]))
        text += f"{message['content']}\n"
    return text + "assistant:", tuple(regions)


def _regions(text: str, messages: Chat, write: Write) -> tuple[Region, ...]:
    """Find the contents in the rendered text: the template is given each with a mark behind it, behind its last visible character, or
    the mark instead of it, and the way that gives the same text without the marks shows the places."""
    for mark in (_behind, _inside, _instead):
        marked = [{**m, "content": mark(i, m["content"])} for i, m in enumerate(messages)]
        got = _written(write, marked)
        found = None if got is None else _located(got, text, messages, put=mark is _instead)
        if found is not None:
            return found
    return _only_places(text, messages)


def _behind(at: int, body: str) -> str:
    return f"{body}\ue000{at}\ue001" if body.strip() else body


def _inside(at: int, body: str) -> str:
    core = body.rstrip()
    return _behind(at, core) + body[len(core) :]


def _instead(at: int, body: str) -> str:
    return f"\ue000{at}\ue001" if body.strip() else body


def _located(marked: str, text: str, messages: Chat, *, put: bool) -> tuple[Region, ...] | None:
    """Return the regions before the marks, when the text without marks is the one that was to be found; `put`: marks stand for contents."""
    out, done, regions, seen = "", 0, [], []
    for match in _MARK.finditer(marked):
        message = messages[int(match[1])]
        core = message["content"].strip()
        out += marked[done : match.start()] + (core if put else "")
        bodies = (message["content"], message["content"].rstrip(), core)
        body = next((b for b in bodies if out.endswith(b)), None)
        if body is None:
            return None
        regions.append(Region(len(out) - len(body), len(out), message["role"]))
        seen.append(int(match[1]))
        done = match.end()
    wanted = [i for i, m in enumerate(messages) if m["content"].strip()]
    return tuple(regions) if out + marked[done:] == text and sorted(seen) == wanted else None


def _only_places(text: str, messages: Chat) -> tuple[Region, ...]:
    """Return the regions of contents each of which stands once in the text.

    Raises:
        AttributionError: one stands nowhere or several times.
    """
    regions = []
    for message in messages:
        core = message["content"].strip()
        if core and text.count(core) != 1:
            raise AttributionError(
                f"the chat template changes the content of the {message['role']!r} message, so its words cannot be found "
                "in the rendered prompt; render the prompt yourself and pass it as a str"
            )
        if core:
            regions.append(Region(text.index(core), text.index(core) + len(core), message["role"]))
    return tuple(sorted(regions, key=lambda region: region.start))
