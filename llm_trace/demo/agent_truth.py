"""Whether the trained agent has the planted causes: texts are taken away, and the model decides again.

A tool's text does not change which tool is asked next, so one conversation per intervention says what a run
without that text would decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.demo.agent_model import compute_logits, load_shared
from llm_trace.demo.agent_texts import DECISIONS, Decision
from llm_trace.demo.agent_world import Messages, rule

if TYPE_CHECKING:
    from llm_trace.demo.agent_cases import AgentCase, Ticket

NEUTRAL = ("", "[removed]")
"""What stands in place of a text that is taken away; both must have the same effect."""
BATCH = 32


@dataclass(frozen=True)
class Verification:
    """How the model obeys the plants of some cases."""

    obeyed: tuple[AgentCase, ...]
    """Cases in which it decides as the rule after every intervention."""
    dropped: tuple[AgentCase, ...]
    interventions: int
    agreed: int
    """Interventions after which it decides as the rule does."""


def verify_cases(cases: Sequence[AgentCase]) -> Verification:
    """Take away each step of each case, and all that was planted at once; compare the model with the rule."""
    variants = [(i, messages) for i, case in enumerate(cases) for messages in iter_interventions(case)]
    answers = decide_by_model([messages for _, messages in variants])
    agrees = [answer == rule(messages).tool for (_, messages), answer in zip(variants, answers, strict=True)]
    failed = {i for (i, _), same in zip(variants, agrees, strict=True) if not same}
    return Verification(
        tuple(case for i, case in enumerate(cases) if i not in failed),
        tuple(case for i, case in enumerate(cases) if i in failed),
        len(variants),
        sum(agrees),
    )


def iter_interventions(case: AgentCase) -> Iterable[Messages]:
    """Yield the conversation as it was, without each step in turn, and without all that was planted."""
    yield case.ticket.write_messages()
    for neutral in NEUTRAL:
        for step in ("system", "user", *case.ticket.tools):
            yield take_steps(case.ticket, [step], neutral)
        if len(case.plants) > 1:
            yield take_steps(case.ticket, case.plants, neutral)


def take_steps(ticket: Ticket, steps: Iterable[str], neutral: str = "") -> Messages:
    """Return the conversation before the decision without some texts.

    Args:
        ticket: whose conversation.
        steps: `system`, `user` and names of tools.
        neutral: stands in place of the texts.
    """
    names = ["system", "user", *(name for tool in ticket.tools for name in ("", tool))]
    return [
        {**message, "content": neutral} if name in set(steps) else message
        for name, message in zip(names, ticket.write_messages(), strict=True)
    ]


def decide_by_model(conversations: Sequence[Messages]) -> list[str]:
    """Return the likeliest first token of the model's next call: the tool's name."""
    tokenizer = load_shared()[1]
    return [
        tokenizer.decode([int(row)]) for logits in _iter_logits(conversations) for row in logits.argmax(1)
    ]


def compute_shares(conversations: Sequence[Messages]) -> list[dict[Decision, float]]:
    """Return the model's probability of each decision as its next call, at temperature 1."""
    tokenizer = load_shared()[1]
    names = [tokenizer.convert_tokens_to_ids(name) for name in DECISIONS]
    rows = [row for logits in _iter_logits(conversations) for row in logits.softmax(1)[:, names].tolist()]
    return [dict(zip(DECISIONS, row, strict=True)) for row in rows]


def compute_call_share(messages: Messages, call: str) -> float:
    """Return the model's probability of writing exactly this call next, at temperature 1."""
    tokenizer = load_shared()[1]
    ids = tuple(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
    share = 1.0
    for token in (*tokenizer.encode(call, add_special_tokens=False), tokenizer.eos_token_id):
        share *= float(compute_logits(ids).double().softmax(-1)[token])
        ids += (token,)
    return share


def _iter_logits(conversations: Sequence[Messages]) -> Iterable[Any]:
    """Yield logits (conversations, vocabulary) of the next token, a batch at a time."""
    import torch

    model, tokenizer = load_shared()
    for start in range(0, len(conversations), BATCH):
        ids = [
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            for messages in conversations[start : start + BATCH]
        ]
        longest = max(map(len, ids))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        with torch.inference_mode():
            states = model.model(padded).last_hidden_state  # (conversations, tokens, width)
            yield model.lm_head(states[range(len(ids)), [len(row) - 1 for row in ids]])
