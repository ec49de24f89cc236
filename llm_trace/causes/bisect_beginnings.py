"""The messages with which a program begins each chat: what all recorded calls of a model's function share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.errors import ConfigurationError
from llm_trace.replays.load import load

if TYPE_CHECKING:
    from collections.abc import Collection

    from llm_trace.replays.tape import Taped
    from llm_trace.stores.duckdb import Store

MOST_LOOKED_AT = 64
"""Pairs of inputs."""
_AUTHORS = ("system", "developer")
"""Roles whose messages belong to the program even where one input alone was asked."""


class AskedChat(NamedTuple):
    """The messages of a call, and how many of the first of them no call before it in its trace has given."""

    messages: list[Any]
    written: int


Chats = dict[str, list[AskedChat]]
"""By the name of a model's function, in the order of the calls."""


def read_beginnings(
    store: Store, spans: Sequence[tuple[str, str]], labels: tuple[str, str]
) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return by function the messages that all its calls begin with, in a and in b, where these differ.

    Args:
        spans: of the calls of a and of b with the same input.
        labels: names of a and b.

    Raises:
        ConfigurationError: beyond the beginnings the first messages of a and b are not the same.
    """
    a, b = (_read_chats(store, side) for side in zip(*spans[:MOST_LOOKED_AT], strict=True))
    beginnings = {}
    for name in dict.fromkeys(name for chats in a for name in chats):
        before, after = (_find_common([c for chats in side for c in chats.get(name, ())]) for side in (a, b))
        if before == after:
            continue
        both = [pair for pair in zip(a, b, strict=True) if all(name in chats for chats in pair)]
        pairs = [(one[name][0], two[name][0]) for one, two in both]
        if any(x.messages[len(before) :] != y.messages[len(after) :] for x, y in pairs):
            raise ConfigurationError(
                f"{name} is asked other messages by {labels[0]} than by {labels[1]}, also after those with "
                f"which all its calls begin: make the texts that differ from Prompts, and record both again"
            )
        beginnings[name] = before, after
    return beginnings


def _read_chats(store: Store, spans: Sequence[str]) -> list[Chats]:
    """Return the chats of each call and of those inside it."""
    recording = load(store, spans)
    roots = {root.span_id: root for root in recording.roots}
    return [_list_chats(recording.tape.select_inside(roots[span]).calls.values()) for span in spans]


def _list_chats(calls: Collection[Taped]) -> Chats:
    chats: Chats = defaultdict(list)
    for call in calls:
        messages = call.input.get("messages") if isinstance(call.input, dict) else None
        if call.kind != "llm" or not isinstance(messages, list):
            continue
        if not all(isinstance(message, dict) for message in messages):
            continue
        answers = [each.output for each in calls if (each.end_ns or call.start_ns) < call.start_ns]
        answered = (i for i, message in enumerate(messages) if message.get("content") in answers)
        chats[call.name].append(AskedChat(messages, next(answered, len(messages))))
    return chats


def _find_common(chats: Sequence[AskedChat]) -> list[Any]:
    """Return the messages that all lists begin with; of a single list those of its author."""
    written = [chat.messages[: chat.written] for chat in chats]
    if len(written) < 2:
        return [message for messages in written for message in takewhile(_is_of_author, messages)]
    return list(_take_equal(written))


def _is_of_author(message: Any) -> bool:
    return message.get("role") in _AUTHORS


def _take_equal(chats: Sequence[Sequence[Any]]) -> Iterator[Any]:
    for messages in zip(*chats, strict=False):
        if any(message != messages[0] for message in messages):
            return
        yield messages[0]
