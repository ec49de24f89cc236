"""Messages that a chat begins with, as the program writes them: those of a and b, and any mixture of both."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from llm_trace.causes.bisect_splits import Hunk, MixedPart, mix_parts, split_literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.causes.bisect_splits import Applied

    RefineParts = Callable[[Sequence[MixedPart]], tuple[MixedPart, ...]]
    """Makes the parts of a text finer."""


@dataclass(frozen=True)
class MixedMessage:
    """A message that a, b or both have."""

    message: Mapping[str, Any]
    """As one of them has it."""
    parts: tuple[MixedPart, ...] | None = None
    """Of its text, where that is a hunk or has hunks; the message goes where nothing of its text is left."""
    hunk: int | None = None
    """Of a message without text that one side alone has."""
    is_of_b: bool = False
    """Whether b is that side."""

    def mix(self, applied: Applied) -> dict[str, Any] | None:
        """Return the message with some hunks put in; `None` where they leave it out."""
        if self.parts is not None:
            text = mix_parts(self.parts, applied)
            return {**self.message, "content": text} if text else None
        return dict(self.message) if self.hunk is None or (self.hunk in applied) == self.is_of_b else None


@dataclass(frozen=True)
class MixedChat:
    """The messages with which all calls of a model's function begin."""

    messages: tuple[MixedMessage, ...]
    beginnings: tuple[Sequence[Any], Sequence[Any]]
    """In a and in b, as they were recorded."""

    def mix(self, applied: Applied) -> list[dict[str, Any]]:
        """Return the messages with some hunks put in."""
        mixed = (each.mix(applied) for each in self.messages)
        return [message for message in mixed if message is not None]

    def refine(self, refine_parts: RefineParts, context: Applied) -> MixedChat:
        """Return the same with the parts of texts made finer; other hunks of `context` stay put in."""
        finer: list[MixedMessage] = []
        for each in self.messages:
            message = each.mix(context)
            if each.parts is not None:
                finer.append(replace(each, parts=refine_parts(each.parts)))
            elif message is not None:
                finer.append(MixedMessage(message))
        return replace(self, messages=tuple(finer))


def split_chat(
    name: str, before: Sequence[Any], after: Sequence[Any], *, first: int
) -> tuple[MixedChat, list[Hunk]]:
    """Return the messages of a and b, and their hunks, of which the first has the number `first`.

    A message that only one has is a hunk; where a message in the same place has other words, its lines are.

    Args:
        name: of the function that is asked them.
    """
    messages, hunks = list[MixedMessage](), list[Hunk]()
    for old, new in _pair_messages(before, after):
        number = first + len(hunks)
        if old == new:
            messages.append(MixedMessage(old))
        elif old is not None and new is not None:
            parts, lines = split_literal(name, old["content"], new["content"], by="lines", first=number)
            messages.append(MixedMessage(new, tuple(parts)))
            hunks += lines
        else:
            texts = "" if old is None else _read_text(old), "" if new is None else _read_text(new)
            hunks.append(Hunk(kind="message", name=name, before=texts[0], after=texts[1]))
            message = new or old
            whole = MixedMessage(message, hunk=number, is_of_b=old is None)
            has_text = isinstance(message.get("content"), str) and message["content"]
            messages.append(replace(whole, parts=(MixedPart(*texts, number),)) if has_text else whole)
    return MixedChat(tuple(messages), (before, after)), hunks


def _pair_messages(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the messages in their order, those in the same place with other words as a pair."""
    in_a, in_b = ([json.dumps(message, sort_keys=True) for message in side] for side in (before, after))
    for tag, a, b, c, d in difflib.SequenceMatcher(None, in_a, in_b, autojunk=False).get_opcodes():
        for old, new in zip_longest(before[a:b], after[c:d]):
            if tag == "equal" or old is None or new is None or _has_other_words(old, new):
                yield old, new
            else:
                yield old, None
                yield None, new


def _has_other_words(old: Any, new: Any) -> bool:
    """Whether nothing but the text of two messages differs."""
    texts = old.get("content"), new.get("content")
    return all(isinstance(text, str) for text in texts) and {**old, "content": ""} == {**new, "content": ""}


def _read_text(message: Mapping[str, Any]) -> str:
    """Return a message's text; one without text as JSON."""
    content = message.get("content")
    return content if isinstance(content, str) and content else json.dumps(message, ensure_ascii=False)
