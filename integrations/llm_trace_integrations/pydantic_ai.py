"""Pydantic AI: its agents, the models that they ask, and their tools.

Why ride: it emits the spans of the GenAI convention itself once it is told to. Where the SDK inside is
instrumented too, tokens and cost are counted there, once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from llm_trace.capture import otel_providers
from llm_trace.instrumentation.integration import Integration


def start() -> Callable[[], None]:
    """Let agents without settings of their own emit spans to us; return what gives back what was set."""
    agents: Any = sys.modules["pydantic_ai"]
    agent, settings = agents.Agent, sys.modules["pydantic_ai.models.instrumented"].InstrumentationSettings
    before = agent._instrument_default
    if before is not False:  # the program, or an instrumentation before this, has chosen
        return lambda: None
    ours = settings(tracer_provider=otel_providers.get_own_provider())
    agent.instrument_all(ours)

    def undo() -> None:
        if agent._instrument_default is ours:
            agent.instrument_all(before)

    return undo


INTEGRATION = Integration(
    library="pydantic-ai",
    module="pydantic_ai",
    distribution="pydantic-ai-slim",
    versions=">=1",
    tried="2.68.0",
    starts={"pydantic_ai": start},
)
