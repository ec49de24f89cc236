"""A call as HTML: what it was, its error, its conversation, and all that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.rendering import formatting
from llm_trace.rendering.elements import Html, element
from llm_trace.rendering.guards import describe_guard
from llm_trace.rendering.pictures import list_pictures
from llm_trace.rendering.texts import LONGEST, cut_text, format_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llm_trace.call_parts import Message, Part
    from llm_trace.rendering.elements import Content
    from llm_trace.rendering.shapes import ShownCall

_ROLES = ("system", "user", "assistant", "tool")
MESSAGES = 50
"""Messages of a call that are shown."""


def render_call(call: ShownCall) -> Html:
    """Return all of a call."""
    return element(
        "article",
        element("header", element("h2", call.name, " ", render_status(call.status)),
                element("p", _list_facts(call), class_="facts"), class_="head"),
        render_error(call),
        _render_guard(call),
        element("section", element("h3", "Conversation" if _list_messages(call) else "Input and output"),
                render_talk(call), class_="panel"),
        _render_documents(call),
        _render_rest(call),
    )  # fmt: skip


def render_status(status: str) -> Html:
    """Return the status in its colour."""
    return element("span", status, class_=f"status s-{status}")


def _list_facts(call: ShownCall) -> Iterator[Content]:
    yield element("span", call.kind, class_=f"kind k-{call.kind}")
    for name, value in list_figures(call):
        yield element("span", element("span", f"{name} ", class_="dim") if name else None, value)
    for tag in call.tags:
        yield element("span", formatting.format_one_line(tag, 30), class_="chip")


def list_figures(call: ShownCall) -> Iterator[tuple[str, str]]:
    """Yield what is known of a call, each with its name: when, how long, how much, for what."""
    facts: list[tuple[str, str | None]] = [("", call.model), ("", call.provider)]
    facts += [
        ("", formatting.format_clock(call.start_ns)),
        ("", formatting.format_duration(call.duration_ns)),
    ]
    if call.first_token_ns is not None:
        facts.append(("first token after", formatting.format_duration(call.first_token_ns - call.start_ns)))
    if call.usage is not None:
        facts.append(("tokens", formatting.format_tokens(call.usage.input_tokens, call.usage.output_tokens)))
        for name, count in (
            ("cached", call.usage.cache_read_tokens),
            ("reasoning", call.usage.reasoning_tokens),
        ):
            facts.append((name, f"{count:,}" if count else ""))
    facts += [
        ("", formatting.format_cost(call.cost_usd)),
        ("prompt", call.prompt.name if call.prompt else None),
    ]
    facts += [("run", call.run), ("session", call.session), ("user", call.user)]
    yield from ((name, formatting.format_one_line(value, 60)) for name, value in facts if value)


def render_error(call: ShownCall) -> Html | None:
    """Return the exception of a call that failed."""
    if call.error is None:
        return None
    trace = call.error.traceback
    folded = element("details", element("summary", "Traceback"), element("pre", format_text(trace)))
    return element(
        "section",
        element("h3", call.error.type),
        element("p", cut_text(call.error.message or "")),
        folded if trace else None,
        class_="panel problem",
    )


def _render_guard(call: ShownCall) -> Html | None:
    guard = describe_guard(call)
    if guard is None:
        return None
    sentence = None if guard.sentence is None else element("blockquote", cut_text(guard.sentence), dir="auto")
    return element(
        "section", element("h3", f"Guard: {guard.outcome}"), sentence,
        None if sentence is None else element("p", guard.about_sentence),
        element("p", cut_text(guard.weights), class_="dim"),
        class_="panel problem" if guard.objected else "panel",
    )  # fmt: skip


def render_talk(call: ShownCall, most: int = LONGEST, last: int = MESSAGES) -> Html:
    """Return what went in and out: the messages, or else input and output.

    Args:
        most: the most characters of each text.
        last: the most messages: of more the last ones.
    """
    messages = _list_messages(call)
    if messages:
        left = len(messages) - last
        return element(
            "div",
            element("p", f"{left:,} earlier messages", class_="dim") if left > 0 else None,
            (_render_message(message, most) for message in messages[-last:]),
            () if call.messages_out or call.output is None else _list_data("Output", call.output, most),
        )
    return element("div", _list_data("Input", call.input, most), _list_data("Output", call.output, most))


def _list_messages(call: ShownCall) -> tuple[Message, ...]:
    return (*call.messages_in, *call.messages_out)


def _list_data(title: str, data: object, most: int) -> Iterator[Html]:
    """Yield arguments each by its name, and any other data as one."""
    named = data.items() if isinstance(data, dict) and data and title == "Input" else [("", data)]
    for name, value in named:
        yield element("h4", f"{title}: {name}" if name else title)
        yield element("pre", format_text(value, most) if value is not None else "none", dir="auto")
        yield from _render_pictures(value)


def _render_message(message: Message, most: int) -> Html:
    role = message.role if message.role in _ROLES else "other"
    asides = (message.name, message.finish_reason and f"ended: {message.finish_reason}")
    return element(
        "article",
        element("h4", message.role, (element("span", " ", aside, class_="dim") for aside in asides if aside)),
        (
            (_render_part(part, most), _render_pictures(part.model_dump(mode="json")))
            for part in message.parts
        ),
        class_=f"message r-{role}",
    )


def _render_part(part: Part, most: int) -> Html:
    data = part.model_dump(mode="json")
    if part.type == "text" and isinstance(part.content, str):
        return element("pre", format_text(part.content, most), dir="auto")
    if part.type == "reasoning" and isinstance(part.content, str):
        return element("details", element("summary", "Reasoning"),
                       element("pre", format_text(part.content, most), dir="auto"))  # fmt: skip
    if part.type == "tool_call":
        heading = (element("strong", str(data.get("name") or "tool")), " is called")
        return _render_tool(heading, data.get("arguments"), most)
    if part.type == "tool_call_response":
        return _render_tool(("answer of the tool",), data.get("response") or data.get("content"), most)
    return element("pre", format_text(data, most))


def _render_pictures(data: object) -> Iterator[Html]:
    for picture in list_pictures(data):
        yield element("img", class_="picture", src=picture.url, alt=picture.title, title=picture.title)


def _render_tool(heading: Iterable[Content], data: object, most: int) -> Html:
    return element("div", element("p", heading, class_="dim"), element("pre", format_text(data, most)),
                   class_="tool")  # fmt: skip


def _render_documents(call: ShownCall) -> Html | None:
    if not call.documents:
        return None
    items = (
        element(
            "li",
            element("p", document.id, "" if document.score is None else f" · score {document.score:.3g}",
                    class_="dim"),
            element("pre", format_text(document.content), dir="auto"),
        )
        for document in call.documents
    )  # fmt: skip
    return element("section", element("h3", "Documents"), element("ol", items, class_="documents"),
                   class_="panel")  # fmt: skip


def _render_rest(call: ShownCall) -> Html:
    parts = {"Parameters": call.params, "Metadata": call.metadata, "Input": call.input, "Output": call.output}
    shown = ((element("h4", name), element("pre", format_text(data))) for name, data in parts.items() if data)
    ids = element("p", "call ", element("code", call.span_id), " in trace ", element("code", call.trace_id),
                  class_="dim")  # fmt: skip
    return element("details", element("summary", "Everything recorded"), shown, ids)
