"""Well-kept instrumentations of others, by the library that they watch; what they emit becomes calls."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Ride:
    """An instrumentation of others for one library."""

    library: str
    """Name that users give to `instrument`."""
    module: str
    """What the program imports."""
    distribution: str
    """What is installed of the library."""
    instrumentation: str
    """Package of the instrumentation, to `pip install`."""
    instrumentor: str
    """Its class, `module:Class`: a `BaseInstrumentor`."""
    tried: str
    """Versions of the instrumentation and of the library that it was tried with; empty: never."""


def _openinference(
    library: str, module: str, distribution: str, cls: str, tried: str = "", package: str = ""
) -> Ride:
    package = package or library
    instrumentor = f"openinference.instrumentation.{package.replace('-', '_')}:{cls}"
    name = f"openinference-instrumentation-{package}"
    return Ride(library, module, distribution, name, instrumentor, tried)


RIDES: tuple[Ride, ...] = (
    _openinference("mistralai", "mistralai", "mistralai", "MistralAIInstrumentor"),
    _openinference("cohere", "cohere", "cohere", "CohereInstrumentor"),
    _openinference("groq", "groq", "groq", "GroqInstrumentor"),
    _openinference("ollama", "ollama", "ollama", "OllamaInstrumentor"),
    _openinference("google-genai", "google.genai", "google-genai", "GoogleGenAIInstrumentor"),
    _openinference("bedrock", "botocore", "botocore", "BedrockInstrumentor"),
    _openinference("llama-index", "llama_index.core", "llama-index-core", "LlamaIndexInstrumentor"),
    _openinference("dspy", "dspy", "dspy", "DSPyInstrumentor"),
    _openinference("crewai", "crewai", "crewai", "CrewAIInstrumentor"),
    _openinference("openai-agents", "agents", "openai-agents", "OpenAIAgentsInstrumentor"),
    _openinference(
        "claude-agent-sdk", "claude_agent_sdk", "claude-agent-sdk", "ClaudeAgentSDKInstrumentor"
    ),
    _openinference("mcp", "mcp", "mcp", "MCPInstrumentor"),
    _openinference("haystack", "haystack", "haystack-ai", "HaystackInstrumentor"),
    _openinference("smolagents", "smolagents", "smolagents", "SmolagentsInstrumentor"),
    _openinference(
        "autogen", "autogen_agentchat", "autogen-agentchat", "AutogenAgentChatInstrumentor",
        package="autogen-agentchat",
    ),
    _openinference("agno", "agno", "agno", "AgnoInstrumentor"),
    _openinference("instructor", "instructor", "instructor", "InstructorInstrumentor"),
)  # fmt: skip
"""The best measured first, where a library has several."""


def find_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, `None` where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
