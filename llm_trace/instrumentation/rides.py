"""Well-kept instrumentations of others, by the library that they watch; what they emit becomes calls.

Of several for one library the first that is installed is taken. OpenInference's stand here rather than
OpenTelemetry's own, which cover fewer libraries and emit what was said only where a variable asks for it.
`tried` and `lacks` are what `make ridden` and `python -m benchmarks.fields` showed; docs/instrument.md has
them as a table.
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
    tried: tuple[str, str, str]
    """Versions of the instrumentation and of the library that it was tried with, and the date."""
    lacks: str = ""
    """What was seen to be missing in the calls then."""
    clients: tuple[str, ...] = ()
    """Libraries that it asks models through, where it does not count tokens itself: those that are installed
    are instrumented with it."""
    answers: str = ""
    """Method (`module:Class.method`) that the library gives a record of each answer: the tokens and the model
    in it are set on the instrumentation's span, which lacks them."""


def _openinference(
    library: str, module: str, distribution: str, cls: str, tried: tuple[str, str, str], *, lacks: str = "",
    clients: tuple[str, ...] = (), package: str = "", answers: str = "",
) -> Ride:  # fmt: skip
    package = package or library
    instrumentor = f"openinference.instrumentation.{package.replace('-', '_')}:{cls}"
    name = f"openinference-instrumentation-{package}"
    return Ride(library, module, distribution, name, instrumentor, tried, lacks, clients, answers)


RIDES: tuple[Ride, ...] = (
    _openinference("mistralai", "mistralai.client", "mistralai", "MistralAIInstrumentor",
        ("2.2.2", "3.7.0", "2026-11-28"), lacks="embeddings"),
    _openinference("cohere", "cohere", "cohere", "CohereInstrumentor",
        ("0.1.15", "7.3.1", "2026-11-28"), lacks="clients other than ClientV2; tokens of embeddings"),
    _openinference("ollama", "ollama", "ollama", "OllamaInstrumentor",
        ("0.1.13", "0.6.3", "2026-11-28"), lacks="all but chat"),
    _openinference("google-genai", "google.genai", "google-genai", "GoogleGenAIInstrumentor",
        ("1.4.14", "3.6.1", "2026-11-28")),
    _openinference("bedrock", "botocore.client", "boto3", "BedrockInstrumentor",
        ("0.1.61", "1.44.8", "2026-11-28"),
        lacks="clients made before; answer and tokens of invoke_model with models other than Anthropic's"),
    _openinference("llama-index", "llama_index.core", "llama-index-core", "LlamaIndexInstrumentor",
        ("4.6.1", "0.14.25", "2026-11-28"),
        lacks="provider and tokens of embeddings"),
    _openinference("dspy", "dspy", "dspy", "DSPyInstrumentor",
        ("0.1.48", "3.4.1", "2026-11-28"), answers="dspy.clients.base_lm:BaseLM.update_history",
        lacks="tokens with dspy.configure(disable_history=True)"),
    _openinference("crewai", "crewai", "crewai", "CrewAIInstrumentor",
        ("1.1.21", "1.15.30", "2026-11-28"), lacks="model calls", clients=("openai", "anthropic", "litellm")),
    _openinference("openai-agents", "agents", "openai-agents", "OpenAIAgentsInstrumentor",
        ("2.6.0", "0.24.0", "2026-11-28")),
    _openinference("claude-agent-sdk", "claude_agent_sdk", "claude-agent-sdk", "ClaudeAgentSDKInstrumentor",
        ("0.1.22", "0.2.189", "2026-11-28"),
        lacks="model calls: a turn is one agent call with its tokens and cost"),
    _openinference("haystack", "haystack", "haystack-ai", "HaystackInstrumentor",
        ("0.1.46", "3.4.1", "2026-11-28"),
        lacks="cached tokens; tools that an agent runs, and their results in its prompts"),
    _openinference("smolagents", "smolagents", "smolagents", "SmolagentsInstrumentor",
        ("0.1.43", "1.26.0", "2026-11-28"), lacks="cached tokens"),
    _openinference("autogen", "autogen_agentchat", "autogen-agentchat", "AutogenAgentChatInstrumentor",
        ("0.1.22", "0.7.5", "2026-11-28"), lacks="provider; cached tokens; an agent's output",
        package="autogen-agentchat"),
    _openinference("agno", "agno", "agno", "AgnoInstrumentor",
        ("1.0.15", "3.1.10", "2026-11-28"), lacks="the version of the model that answered"),
    _openinference("instructor", "instructor", "instructor", "InstructorInstrumentor",
        ("0.1.29", "1.17.0", "2026-11-28"), lacks="model calls",
        clients=("openai", "anthropic", "litellm", "groq")),
)  # fmt: skip
"""The best measured first, where a library has several."""


def find_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, `None` where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def describe_trial(ride: Ride) -> str:
    """Return with which versions an instrumentation was tried, when, and what was missing."""
    instrumentation, library, date = ride.tried
    lacks = f"; missing: {ride.lacks}" if ride.lacks else ""
    clients = f"; {', '.join(ride.clients)} instrumented with it" if ride.clients else ""
    return f"{instrumentation} with {ride.distribution} {library} on {date}{lacks}{clients}"
