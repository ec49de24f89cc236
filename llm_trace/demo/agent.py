"""The refund agent of the demo, traced: a model writes tool calls, one after the other, until it decides.

    from llm_trace.demo.agent import handle_ticket
    from llm_trace.demo.agent_cases import make_agent_cases

    case = make_agent_cases("single", 1, seed=0)[0]
    handle_ticket(case.name, case.ticket.message)          # "refund(order=109)"

Tools look into the ticket only, so all of them may run again at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.capture.spans import update_current_call
from llm_trace.capture.wrappers import trace
from llm_trace.demo.agent_cases import open_ticket
from llm_trace.demo.agent_model import MODEL, write_call
from llm_trace.demo.agent_texts import DECISIONS, LookUp
from llm_trace.demo.agent_world import Messages, parse_call

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 12
"""Calls after which a person takes over."""


@trace(kind="agent")
def handle_ticket(ticket: str, message: str, temperature: float = 0.0) -> str:
    """Let the agent ask its tools until it decides; return the decision, such as `refund(order=17)`."""
    system = open_ticket(ticket).system
    messages: Messages = [{"role": "system", "content": system}, {"role": "user", "content": message}]
    for _ in range(TURNS):
        text = choose_call(messages, temperature)
        call = parse_call(text)
        if call is None:
            break
        result = TOOLS[call.tool](call.order, ticket)
        if call.tool in DECISIONS:
            return text
        messages += [{"role": "assistant", "content": text}, {"role": "tool", "content": result}]
    return "no decision"


@trace(kind="llm", model=MODEL)
def choose_call(messages: Messages, temperature: float = 0.0) -> str:
    """Ask the embedded model for the next tool call."""
    text, usage = write_call(messages, temperature)
    update_current_call(usage=usage)
    return text


@trace(kind="tool")
def look_up_order(order: int, ticket: str) -> str:
    """Return what was ordered."""
    return _read_result(order, ticket, "look_up_order")


@trace(kind="tool")
def inspect_item(order: int, ticket: str) -> str:
    """Return what a colleague saw."""
    return _read_result(order, ticket, "inspect_item")


@trace(kind="tool")
def read_notes(order: int, ticket: str) -> str:
    """Return notes about the customer."""
    return _read_result(order, ticket, "read_notes")


@trace(kind="tool")
def read_policy(order: int, ticket: str) -> str:
    """Return the policy for such an order."""
    return _read_result(order, ticket, "read_policy")


@trace(kind="tool")
def track_parcel(order: int, ticket: str) -> str:
    """Return where the parcel went."""
    return _read_result(order, ticket, "track_parcel")


@trace(kind="tool")
def read_reviews(order: int, ticket: str) -> str:
    """Return what other buyers write."""
    return _read_result(order, ticket, "read_reviews")


@trace(kind="tool")
def refund(order: int, ticket: str) -> str:
    """Give the money back."""
    return f"ticket {ticket}: order {order} is refunded"


@trace(kind="tool")
def decline(order: int, ticket: str) -> str:
    """Keep the money."""
    return f"ticket {ticket}: order {order} is not refunded"


@trace(kind="tool")
def escalate(order: int, ticket: str) -> str:
    """Hand the order to a manager."""
    return f"ticket {ticket}: a manager looks at order {order}"


TOOLS: dict[str, Callable[[int, str], str]] = {
    tool.__name__: tool
    for tool in (
        look_up_order, inspect_item, read_notes, read_policy, track_parcel, read_reviews,
        refund, decline, escalate,
    )
}  # fmt: skip


def _read_result(order: int, ticket: str, tool: LookUp) -> str:
    desk = open_ticket(ticket)
    return desk.results[tool] if order == desk.order else "There is no such order."
