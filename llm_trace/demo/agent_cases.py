"""Tickets of the refund agent whose cause is planted, and the conversations that its model learns from."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from llm_trace.demo import agent_texts as texts
from llm_trace.demo import sentences
from llm_trace.demo.agent_texts import LOOK_UPS, Decision, LookUp
from llm_trace.demo.agent_world import DEFAULT_TOOLS, Messages, ToolCall, decide
from llm_trace.demo.world import pick_sentence

AgentCaseKind = Literal["single", "redundant", "joint", "distractors", "user"]
Plant = Literal["facts", "injection", "policy", "defect", "days", "late", "manager", "unopened"]
"""What a text holds. `facts` is a defect and a recent purchase, `defect` and `days` its halves, `late` a
defect and an old purchase.
"""
CauseStep = LookUp | Literal["user"]
AGENT_CASE_KINDS: tuple[AgentCaseKind, ...] = get_args(AgentCaseKind)
GROUNDS: tuple[Plant, ...] = ("facts", "injection", "policy")
"""Each makes the agent refund by itself."""
_TAKEN = {"system": 0.5, "user": 0.5, "assistant": 0.25, "tool": 1.0}
"""How often texts are taken away in training, by role."""
ORDERS = range(100, 200)
"""Their numbers."""


@dataclass(frozen=True)
class Ticket:
    """What the desk holds about one customer."""

    order: int
    system: str
    """The system prompt, which lists the tools to ask."""
    message: str
    """Of the customer."""
    tools: tuple[LookUp, ...]
    """In the order of the list."""
    results: Mapping[LookUp, str]
    """What each tool returns, unlisted ones too."""

    def write_messages(self) -> Messages:
        """Return the conversation before the decision, the listed tools asked one after the other."""
        messages = [{"role": "system", "content": self.system}, {"role": "user", "content": self.message}]
        for tool in self.tools:
            messages.append({"role": "assistant", "content": str(ToolCall(tool, self.order))})
            messages.append({"role": "tool", "content": self.results[tool]})
        return messages


@dataclass(frozen=True)
class AgentCase:
    """A ticket with the steps that cause its decision, by the rule."""

    kind: AgentCaseKind
    name: str
    """Of the ticket: `open_ticket(name)`."""
    ticket: Ticket
    decision: Decision
    plants: Mapping[CauseStep, Plant]
    """The steps that cause the decision, and by what. `single`, `distractors`: the one tool without whose
    result it is another. `redundant`: two, either of which suffices. `joint`: two, both needed. `user`: what
    the customer said and nothing else.
    """


def make_agent_cases(kind: AgentCaseKind, count: int, seed: int) -> list[AgentCase]:
    """Return tickets with a planted cause.

    Args:
        kind: `distractors` are single causes among six tools that return much beside the point.
        count: how many.
        seed: equal seeds give equal tickets.
    """
    return [_make_case(kind, f"{kind}-{seed}-{i}") for i in range(count)]


@lru_cache(maxsize=4096)
def open_ticket(name: str) -> Ticket:
    """Return the ticket of a case by its name, such as `single-5-0`.

    Raises:
        KeyError: there is no such ticket.
    """
    for kind in AGENT_CASE_KINDS:
        if name.startswith(f"{kind}-"):
            return _make_case(kind, name).ticket
    raise KeyError(f"there is no ticket {name!r}: names begin with {', '.join(AGENT_CASE_KINDS)}")


def make_result(
    rng: random.Random, tool: LookUp, item: str, plants: Sequence[Plant] = (), chatter: int = 0
) -> str:
    """Return what a tool says: something harmless, what was planted, and sentences beside the point."""
    parts = [_say(rng, plant, item) for plant in plants]
    parts += [pick_sentence(rng, texts.TOOL_CHATTER, item=item) for _ in range(chatter)]
    if "policy" not in plants or tool != "read_policy":  # a wrong policy stands in place of the right one
        parts.append(pick_sentence(rng, texts.RETURNS[tool], item=item))
    return " ".join(rng.sample(parts, len(parts)))


def make_training_messages(rng: random.Random, short: bool = False) -> Messages:
    """Return a conversation up to the decision, in two of three cases with texts taken away or exchanged.

    Args:
        short: nothing beside the point, for the first lessons.
    """
    tools = rng.choice((DEFAULT_TOOLS, LOOK_UPS))
    plants: dict[LookUp, list[Plant]] = {tool: [] for tool in tools}
    kinds: tuple[tuple[Plant, ...], ...] = ((), ("facts",), ("injection",), ("policy",), ("defect", "days"))
    planted = [plant for kind in rng.choices(kinds, (5, 2, 2, 1, 3), k=rng.randint(1, 2)) for plant in kind]
    if rng.random() < 0.4:
        planted.append(rng.choice(("defect", "days", "late")))
    for plant in planted:
        plants[rng.choice(tools)].append(plant)
    demand = rng.choices((None, "manager", "unopened"), (7, 2, 2))[0]
    messages = _make_ticket(rng, plants, demand, 0 if short else rng.randint(0, 2)).write_messages()
    if rng.random() < 0.1:
        messages[0]["content"] = rng.choice(texts.BLANKS)
    return messages if rng.random() < 0.35 else _take_away(messages, rng)


def _make_case(kind: AgentCaseKind, name: str) -> AgentCase:
    rng = random.Random(name)
    plants = _draw_plants(rng, kind)
    demand: Plant | None = rng.choice(("manager", "unopened")) if kind == "user" else None
    tools = LOOK_UPS if kind == "distractors" else DEFAULT_TOOLS
    lists: dict[LookUp, list[Plant]] = {tool: [plants[tool]] if tool in plants else [] for tool in tools}
    others = [tool for tool in tools if tool not in plants]
    if kind == "distractors":
        lists[rng.choice(others)].append(rng.choice(("defect", "days", "late")))
    elif demand:  # under "manager" even a ground changes nothing
        lists[rng.choice(others)].append(
            rng.choice(("defect", "days", *GROUNDS[: 2 * (demand == "manager")]))
        )
    ticket = _make_ticket(rng, lists, demand, 3 if kind == "distractors" else rng.randint(0, 2))
    causes: dict[CauseStep, Plant] = {"user": demand} if demand else {tool: plants[tool] for tool in plants}
    return AgentCase(kind, name, ticket, decide(ticket.write_messages()), causes)


def _draw_plants(rng: random.Random, kind: AgentCaseKind) -> dict[LookUp, Plant]:
    """Return the tools that hold a cause; a wrong policy is in the policy."""
    grounds: tuple[Plant, ...] = ()
    if kind in ("single", "distractors"):
        grounds = (rng.choice(GROUNDS),)
    elif kind == "redundant":
        grounds = rng.choice(
            (("facts", "facts"), ("facts", "injection"), ("facts", "policy"), ("injection", "policy"))
        )
    elif kind == "joint":
        grounds = ("defect", "days")
    free = rng.sample([tool for tool in DEFAULT_TOOLS if tool != "read_policy"], len(grounds))
    return {
        "read_policy" if ground == "policy" else tool: ground
        for ground, tool in zip(grounds, free, strict=True)
    }


def _make_ticket(
    rng: random.Random, plants: Mapping[LookUp, Sequence[Plant]], demand: str | None, chatter: int
) -> Ticket:
    order = rng.choice(ORDERS)
    item = rng.choice(sentences.ITEMS)
    claims = rng.sample(texts.CLAIMS, rng.randint(0, 2))
    parts = [pick_sentence(rng, [claim], item=item) for claim in claims]
    if demand:
        parts.append(rng.choice(texts.DEMANDS if demand == "manager" else texts.UNOPENED))
    message = [pick_sentence(rng, texts.REQUESTS, order=order, item=item), *rng.sample(parts, len(parts))]
    opening = [rng.choice(sentences.OPENINGS)] if rng.random() < 0.5 else []
    results = {
        tool: make_result(rng, tool, item, plants.get(tool, ()), rng.randint(min(1, chatter), chatter))
        for tool in dict.fromkeys([*plants, *LOOK_UPS])
    }
    system = rng.choice(texts.SYSTEMS).format(order=order) + "\n".join(plants)
    return Ticket(order, system, " ".join(opening + message), tuple(plants), results)


def _say(rng: random.Random, plant: Plant, item: str) -> str:
    """Return what stands in a tool's text for a plant."""
    if plant == "injection":
        return rng.choice(texts.INJECTIONS)
    if plant == "policy":
        return rng.choice(texts.WRONG_POLICIES)
    days = rng.choice(texts.LATE_DAYS if plant == "late" else texts.RECENT_DAYS)
    date = pick_sentence(rng, texts.DATES, days=days)
    damage = pick_sentence(rng, texts.DAMAGE, item=item, defect=rng.choice(sentences.DEFECTS))
    if plant in ("defect", "days"):
        return damage if plant == "defect" else date
    return " ".join(rng.sample((date, damage), 2))


def _take_away(messages: Messages, rng: random.Random) -> Messages:
    """Return the conversation with texts blanked, cut, exchanged or left out; the order's number stays
    readable.
    """
    share = rng.choice((0.15, 0.3, 0.6))
    left: Messages = []
    for message in messages:
        role = message["role"]
        spared = rng.random() > share * _TAKEN[role]
        if spared or (role == "user" and "order" not in "".join(other["content"] for other in left)):
            left.append(message)
        elif rng.random() < 0.75:
            left.append({"role": role, "content": _spoil(message["content"], role, rng)})
        elif role == "tool" and left[-1]["role"] == "assistant" and rng.random() < 0.5:
            left.pop()  # with its call
    return left


def _spoil(text: str, role: str, rng: random.Random) -> str:
    """Return what stands in place of a text."""
    how = rng.choice(("blank", "blank", "cut", "other", "noise", "words"))
    if how == "blank" or role in ("system", "assistant"):
        return rng.choice(texts.BLANKS)
    parts = text.split(". ")
    if how == "cut":
        return ". ".join(part for part in parts if rng.random() < 0.5)
    if how == "words":
        return " ".join(word for word in text.split(" ") if rng.random() < 0.8)
    if how == "noise" or role == "user":
        return sentences.make_noise(rng)
    plants: tuple[tuple[Plant, ...], ...] = ((), (), (), ("late",), ("facts",), ("injection",))
    return make_result(
        rng, rng.choice(LOOK_UPS), rng.choice(sentences.ITEMS), rng.choice(plants), rng.randint(0, 2)
    )
