"""Claude Agent SDK: a query and a client's turn, over a transport that answers as Claude Code does."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import claude_agent_sdk as sdk

MODEL = "claude-sonnet-4-6"
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "get_height", "input": {"mountain": "Huascarán"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "6768 metres"}


class ClaudeCode(sdk.Transport):
    """Speaks Claude Code's side of the protocol: a tool call, its result, an answer."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def connect(self) -> None:
        """Do nothing."""

    async def write(self, data: str) -> None:
        """Answer each line that the SDK sends."""
        for line in map(json.loads, data.splitlines()):
            if line["type"] == "control_request":
                response = {"subtype": "success", "request_id": line["request_id"], "response": {}}
                self._lines.put_nowait({"type": "control_response", "response": response})
            elif line["type"] == "user":
                for message in _build_turn():
                    self._lines.put_nowait(message)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what Claude Code says."""
        while (line := await self._lines.get()) is not None:
            yield line

    async def end_input(self) -> None:
        """Say nothing more."""
        self._lines.put_nowait(None)

    async def close(self) -> None:
        """Say nothing more."""
        self._lines.put_nowait(None)

    def is_ready(self) -> bool:
        """Say yes."""
        return True


def _build_turn() -> list[dict[str, Any]]:
    answer = {"type": "text", "text": "It is 6768 metres high."}
    usage = {"input_tokens": 201, "output_tokens": 12, "cache_read_input_tokens": 16,
             "cache_creation_input_tokens": 0}  # fmt: skip
    whole = {"parent_tool_use_id": None, "session_id": "s1", "uuid": "u1"}
    return [
        {"type": "system", "subtype": "init", "session_id": "s1", "model": MODEL, "tools": ["get_height"]},
        {"type": "assistant", "message": {"id": "msg_1", "role": "assistant", "model": MODEL,
                                          "content": [TOOL], "stop_reason": "tool_use"}, **whole},
        {"type": "user", "message": {"role": "user", "content": [RESULT]}, **whole},
        {"type": "assistant", "message": {"id": "msg_2", "role": "assistant", "model": MODEL,
                                          "content": [answer], "stop_reason": "end_turn"}, **whole},
        {"type": "result", "subtype": "success", "duration_ms": 20, "duration_api_ms": 10, "is_error": False,
         "num_turns": 2, "session_id": "s1", "total_cost_usd": 0.001, "usage": usage,
         "result": answer["text"], "uuid": "u2"},
    ]  # fmt: skip


def run(url: str) -> None:
    """Query, then ask a client."""
    asyncio.run(_run())


async def _run() -> None:
    options = sdk.ClaudeAgentOptions(model=MODEL)
    query = sdk.query(prompt="How high is Huascarán?", options=options, transport=ClaudeCode())
    messages = [message async for message in query]
    assert "6768" in messages[-1].result
    async with sdk.ClaudeSDKClient(options, transport=ClaudeCode()) as client:
        await client.query("How high is Huascarán, client?")
        messages = [message async for message in client.receive_response()]
    assert "6768" in messages[-1].result
