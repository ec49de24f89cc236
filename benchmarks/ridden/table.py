"""What each library's program needs, and what there must be to record of it."""

from __future__ import annotations

from dataclasses import dataclass

from llm_trace.instrumentation.rides import RIDES


@dataclass(frozen=True)
class Program:
    """A small real program of one library, in `programs/`."""

    packages: tuple[str, ...]
    """What it imports of the library, whose functions must be the same after undoing."""
    requirements: tuple[str, ...] = ()
    """To install beside the library and its instrumentation."""
    roots: int = 1
    """How many runs it makes: calls that have no parent."""
    tools: int = 0
    """How many tool calls it makes."""


PROGRAMS: dict[str, Program] = {
    "agno": Program(("agno",), ("openai",), roots=2, tools=2),
    "autogen": Program(
        ("autogen_agentchat", "autogen_core", "autogen_ext"), ("autogen-ext[openai]",), roots=3, tools=2
    ),
    "claude-agent-sdk": Program(("claude_agent_sdk",), roots=2, tools=2),
    "crewai": Program(("crewai",), roots=2, tools=1),
    "dspy": Program(("dspy",), ("litellm",), roots=3),
    "haystack": Program(("haystack",), roots=3, tools=1),
    "instructor": Program(("instructor",), ("openai",), roots=2),
    "llama-index": Program(
        ("llama_index", "llama_index_instrumentation", "workflows"),
        ("llama-index-llms-openai", "llama-index-embeddings-openai"),
        roots=6,
        tools=1,
    ),
    "mcp": Program(("mcp",), roots=4, tools=2),
    "openai-agents": Program(("agents",), roots=2, tools=2),
    "smolagents": Program(("smolagents",), ("openai",), roots=2, tools=2),
}


def list_requirements(library: str) -> list[str]:
    """Return what to install for a program: the library first, then what instruments it, if others do."""
    own = list(PROGRAMS[library].requirements)
    ride = next((ride for ride in RIDES if ride.library == library), None)
    return [library, *own] if ride is None else [ride.distribution, ride.instrumentation, *own]
