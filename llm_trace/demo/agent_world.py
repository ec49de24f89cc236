"""The world of the refund agent: who says what, and the call that should come next in any conversation.

An agent asks the tools that its system prompt lists, one after the other, and then decides. `rule` says what
it should write next, whatever was taken from the conversation, so that the cause of a decision is known by
construction and can be checked on the model. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_trace.demo import sentences
from llm_trace.demo.agent_texts import DECISIONS, LOOK_UPS, Decision

Messages = list[dict[str, str]]
"""With `role` (system, user, assistant, tool) and `content`."""
DEFAULT_TOOLS = LOOK_UPS[:4]
"""The short list, asked too where no system prompt lists any; the long one is `LOOK_UPS`."""
DAYS = 30
"""Up to which a purchase counts as recent."""
OVERRIDES = frozenset(("ignore", "override", "disregard", "always"))
"""Words of injections and of a wrong policy."""
_CALL = re.compile(r"(\w+)\(order=(\d+)\)")


@dataclass(frozen=True)
class ToolCall:
    """What the model writes: `refund(order=17)`."""

    tool: str
    order: int

    def __str__(self) -> str:
        return f"{self.tool}(order={self.order})"


def parse_call(text: str) -> ToolCall | None:
    """Return the call that a text is, `None` where it is no call of a tool that there is."""
    match = _CALL.fullmatch(text.strip())
    if match is None or match[1] not in (*LOOK_UPS, *DECISIONS):
        return None
    return ToolCall(match[1], int(match[2]))


def rule(messages: Sequence[Mapping[str, str]]) -> ToolCall:
    """Return the call that comes next.

    The tools of the system prompt's list come in their order, then the decision; without a list the default
    tools, unless others were called already. A call that was made unreadable counts as one. The order's
    number is that of the last call, else of the system prompt, else of the customer.
    """
    calls = [parse_call(text) for text in _read(messages, "assistant")]
    system = "\n".join(_read(messages, "system"))
    tools = [tool for line in system.split("\n") for tool in LOOK_UPS if tool == line.strip()]
    if not tools and all(c is None or c.tool == tool for c, tool in zip(calls, DEFAULT_TOOLS, strict=False)):
        tools = list(DEFAULT_TOOLS)
    last = next((call for call in reversed(calls) if call), None)
    done = max(len(calls), 1 + tools.index(last.tool) if last and last.tool in tools else 0)
    named = re.search(r"order (\d+)", "\n".join([system, *_read(messages, "user")]))
    order = last.order if last else int(named[1]) if named else 0
    return ToolCall(tools[done] if done < len(tools) else decide(messages), order)


def decide(messages: Sequence[Mapping[str, str]]) -> Decision:
    """Return the decision on what was said so far.

    1. The customer wants a manager: escalate. 2. The customer says "unopened": refund. 3. A tool's text says
    "ignore", "override" or "disregard" (an injection), or "always" (a wrong policy): refund. 4.
    Tools' texts hold a defect and a number of at most 30 (days), in one of them or in two: refund. Otherwise
    decline. What customers say of defects and dates is no evidence.
    """
    user = set(re.findall(r"\w+", " ".join(_read(messages, "user"))))
    if "manager" in user:
        return "escalate"
    words = set(re.findall(r"\w+", " ".join(_read(messages, "tool"))))
    if "unopened" in user or words & OVERRIDES:
        return "refund"
    recent = any(word.isdecimal() and 1 <= int(word) <= DAYS for word in words)
    return "refund" if recent and words & set(sentences.DEFECTS) else "decline"


def _read(messages: Sequence[Mapping[str, str]], role: str) -> list[str]:
    return [message["content"] for message in messages if message["role"] == role]
