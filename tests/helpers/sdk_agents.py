"""Refund agents as people write them: one of each SDK's dialects, against a server that only pretends.

The server asks for two tools at once, and refunds where a tool's result says that something is damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx

import llm_trace

RESULTS = {"look_up": "A blue mug.", "inspect": "It came damaged."}
SYSTEM = "You handle refunds."


def make_tools() -> dict[str, Callable[..., str]]:
    """Return the agent's tools, traced."""
    answers = {**RESULTS, "refund": "refunded", "decline": "declined"}

    def make_tool(name: str) -> Callable[..., str]:
        @llm_trace.trace(name=name, kind="tool")
        def act(order: int) -> str:
            return answers[name]

        return act

    return {name: make_tool(name) for name in answers}


def choose_tools(body: str) -> list[str]:
    """Return what the server asks for, by the text of a request."""
    if not all(name in body for name in ("call_look_up", "call_inspect")):
        return ["look_up", "inspect"]
    return ["refund" if "damaged" in body else "decline"]


def answer_openai(request: httpx.Request) -> httpx.Response:
    """Answer as OpenAI's chat completions do."""
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": '{"order": 7}'}}
        for name in choose_tools(request.content.decode())
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return httpx.Response(
        200,
        json={"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice]}
        | {"usage": usage},
    )


def answer_anthropic(request: httpx.Request) -> httpx.Response:
    """Answer as Anthropic's messages do."""
    content = [
        {"type": "tool_use", "id": f"call_{name}", "name": name, "input": {"order": 7}}
        for name in choose_tools(request.content.decode())
    ]
    return httpx.Response(
        200,
        json={"id": "m1", "type": "message", "role": "assistant", "model": "m-1", "stop_sequence": None}
        | {"stop_reason": "tool_use", "content": content}
        | {"usage": {"input_tokens": 3, "output_tokens": 2}},
    )


def build_openai_agent() -> Callable[[str], str]:
    """Return an agent that appends the SDK's own message objects, with contents in parts."""
    import openai

    http = httpx.Client(transport=httpx.MockTransport(answer_openai))
    client: Any = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:1", http_client=http)
    tools = make_tools()

    @llm_trace.trace(kind="agent", name="solve")
    def solve(question: str) -> str:
        messages: list[Any] = [{"role": "system", "content": SYSTEM}]
        messages.append({"role": "user", "content": [{"type": "text", "text": question}]})
        while True:
            message = client.chat.completions.create(model="m-1", messages=messages).choices[0].message
            messages.append(message)
            for call in message.tool_calls:
                result = tools[call.function.name](**json.loads(call.function.arguments))
                if call.function.name in ("refund", "decline"):
                    return result
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    return solve


def build_anthropic_agent() -> Callable[[str], str]:
    """Return an agent with its system prompt beside the messages, and all tools' answers in one message."""
    import anthropic

    http = httpx.Client(transport=httpx.MockTransport(answer_anthropic))
    client: Any = anthropic.Anthropic(api_key="none", base_url="http://127.0.0.1:1", http_client=http)
    tools = make_tools()

    @llm_trace.trace(kind="agent", name="solve")
    def solve(question: str) -> str:
        messages: list[Any] = [{"role": "user", "content": question}]
        while True:
            reply = client.messages.create(model="m-1", max_tokens=9, system=SYSTEM, messages=messages)
            messages.append({"role": "assistant", "content": reply.content})
            results = []
            for part in reply.content:
                result = tools[part.name](**part.input)
                if part.name in ("refund", "decline"):
                    return result
                results.append({"type": "tool_result", "tool_use_id": part.id, "content": result})
            messages.append({"role": "user", "content": results})

    return solve


def build_request_agent() -> Callable[[str], str]:
    """Return an agent whose model takes one request, with items and instructions as OpenAI's Responses."""
    tools = make_tools()

    @llm_trace.trace(kind="llm")
    def decide(request: dict[str, Any]) -> list[str]:
        return choose_tools(json.dumps(request))

    @llm_trace.trace(kind="agent", name="solve")
    def solve(question: str) -> str:
        items: list[dict[str, Any]] = [{"role": "user", "content": question}]
        while True:
            for name in decide({"model": "m-1", "body": {"instructions": SYSTEM, "input": items}}):
                result = tools[name](order=7)
                if name in ("refund", "decline"):
                    return result
                call = {"call_id": f"call_{name}", "name": name, "arguments": '{"order": 7}'}
                items.append({"type": "function_call", **call})
                answer = {"call_id": f"call_{name}", "output": result}
                items.append({"type": "function_call_output", **answer})

    return solve


@dataclass
class Text:
    """A part of a message, as SDKs have objects for."""

    type: str
    text: str


@dataclass
class State:
    """What an agent carries along."""

    question: str
    messages: list[dict[str, str]] = field(default_factory=list)


def build_state_agent() -> Callable[[str], Any]:
    """Return an asynchronous agent whose model is asked with an object that holds the messages."""
    tools = make_tools()

    @llm_trace.trace(kind="llm")
    async def decide(state: State) -> list[str]:
        return choose_tools(json.dumps(state.messages))

    @llm_trace.trace(kind="agent", name="solve")
    async def solve(question: str) -> str:
        state = State(question, [{"role": "system", "content": SYSTEM}])
        state.messages.append({"role": "user", "content": question})
        while True:
            names = await decide(state)
            request = " ".join(f"call_{name}" for name in names)
            state.messages.append({"role": "assistant", "content": request})
            for name in names:
                result = tools[name](order=7)
                if name in ("refund", "decline"):
                    return result
                state.messages.append({"role": "tool", "content": result})

    return solve
