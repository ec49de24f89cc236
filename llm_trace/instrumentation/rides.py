"""Well-kept instrumentations of others, by the library that they watch; what they emit becomes calls.

Of several for one library the first that is installed is taken. OpenInference's stand here rather than
OpenTelemetry's own, which cover fewer libraries and emit what was said only where a variable asks for it;
OpenLLMetry's stands where it alone emits spans: OpenInference's for MCP carries the context across, no more.
`tried` says what was seen to be missing when recorded exchanges were asked for with these versions.
"""

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
    _openinference("mistralai", "mistralai.client", "mistralai", "MistralAIInstrumentor",
        "2.2.2 with mistralai 3.7.0; embeddings are not told of"),
    _openinference("cohere", "cohere", "cohere", "CohereInstrumentor",
        "0.1.15 with cohere 7.3.1; only ClientV2, embeddings without tokens"),
    _openinference("ollama", "ollama", "ollama", "OllamaInstrumentor",
        "0.1.13 with ollama 0.6.3; only chat"),
    _openinference("google-genai", "google.genai", "google-genai", "GoogleGenAIInstrumentor",
        "1.4.14 with google-genai 3.6.1"),
    _openinference("bedrock", "botocore.client", "boto3", "BedrockInstrumentor",
        "0.1.61 with boto3 1.44.8; invoke_model of models other than Anthropic's without answer or tokens"),
    _openinference("llama-index", "llama_index.core", "llama-index-core", "LlamaIndexInstrumentor"),
    _openinference("dspy", "dspy", "dspy", "DSPyInstrumentor"),
    _openinference("crewai", "crewai", "crewai", "CrewAIInstrumentor"),
    _openinference("openai-agents", "agents", "openai-agents", "OpenAIAgentsInstrumentor",
        "2.6.0 with openai-agents 0.24.0"),
    _openinference(
        "claude-agent-sdk", "claude_agent_sdk", "claude-agent-sdk", "ClaudeAgentSDKInstrumentor"
    ),
    Ride(
        "mcp", "mcp", "mcp", "opentelemetry-instrumentation-mcp",
        "opentelemetry.instrumentation.mcp:McpInstrumentor", "",
    ),
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
