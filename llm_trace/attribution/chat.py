"""Chat messages as the model reads them: the tokenizer's template around contents that may be perturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.attribution.segments import Region
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def content(message: Mapping[str, Any]) -> str:
    """Return the text of a message: a string, or the text parts of a list of parts."""
    body = message.get("content", message.get("parts")) or ""
    if isinstance(body, str):
        return body
    texts = [p if isinstance(p, str) else p.get("text", p.get("content")) for p in body]
    return "\n".join(t for t in texts if isinstance(t, str))


def rendered(
    messages: Sequence[Mapping[str, Any]], tokenizer: Any
) -> tuple[str, tuple[Region, ...], str | None]:
    """Return the prompt by the chat template, the regions of the contents in it, and a note where there is no template.

    Raises:
        AttributionError: no messages, or a template that rewrites the contents so that they cannot be found again.
    """
    if not messages:
        raise AttributionError("the list of messages is empty: there is nothing to attribute to")
    plain = [{"role": str(m.get("role", "user")), "content": content(m)} for m in messages]
    note = None
    if getattr(tokenizer, "chat_template", None):
        text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    else:
        text = "".join(f"{m['role']}: {m['content']}\n" for m in plain) + "assistant:"
        note = "the tokenizer has no chat template: messages were written as 'role: content' lines"
    return text, _regions(text, plain), note


def _regions(text: str, messages: list[dict[str, str]]) -> tuple[Region, ...]:
    """Find the contents in the rendered text, in their order."""
    at, regions = 0, []
    for message in messages:
        wanted = next(
            (w for w in (message["content"], message["content"].strip()) if w and w in text[at:]), None
        )
        if wanted is None:
            if message["content"].strip():
                raise AttributionError(
                    f"the chat template changes the content of the {message['role']!r} message, so its words cannot be found "
                    "in the rendered prompt; render the prompt yourself and pass it as a str"
                )
            continue
        start = text.index(wanted, at)
        regions.append(Region(start, start + len(wanted), message["role"]))
        at = start + len(wanted)
    return tuple(regions)
