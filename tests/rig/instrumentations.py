"""What can be switched on while exchanges are asked for, all of it in the same way."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from opentelemetry.sdk.trace import TracerProvider

import llm_trace
from llm_trace.instrumentation.api import load_integrations
from tests.rig.exchanges import PROVIDERS

Undo = Callable[[], Any]


class Instrumentation(Protocol):
    """Something that records calls of a client."""

    @property
    def name(self) -> str: ...
    @property
    def rides(self) -> bool:
        """Whether the calls are made of its spans, so that what it does not send cannot be there."""

    def start(self, provider: TracerProvider) -> None:
        """Record from now on; spans go to the provider, which `llm_trace.configure` knows."""

    def undo(self) -> None:
        """Record no longer."""


@dataclass
class Ridden:
    """An instrumentation of others, whose spans llm_trace reads.

    Args:
        name: as the table shows it.
        target: `module:class` of the instrumentor.
    """

    name: str
    target: str
    rides: bool = True
    _instrumentor: Any = field(default=None, repr=False)
    _environment: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch, repr=False)

    def start(self, provider: TracerProvider) -> None:
        """Switch it on with content; skips the test where its package is not installed."""
        module, _, name = self.target.partition(":")
        pytest.importorskip(module)
        for variable, value in _CONTENT.items():
            self._environment.setenv(variable, value)
        self._instrumentor = getattr(importlib.import_module(module), name)()
        self._instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)

    def undo(self) -> None:
        """Switch it off."""
        self._instrumentor.uninstrument()
        self._environment.undo()


@dataclass
class Own:
    """`llm_trace.instrument` for one library."""

    library: str
    _undo: Undo | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"own:{self.library}"

    @property
    def rides(self) -> bool:
        """Whether it switches on an instrumentation of others."""
        return self.library not in load_integrations()

    def start(self, provider: TracerProvider) -> None:
        """Instrument the library."""
        self._undo = llm_trace.instrument(self.library)

    def undo(self) -> None:
        """Leave the library as it was."""
        if self._undo is not None:
            self._undo()


@dataclass
class Decorated:
    """Nothing but `@llm_trace.trace` around the function that asks: the measurement wraps it."""

    name: str = "decorator"
    rides: bool = False

    def start(self, provider: TracerProvider) -> None:
        """Do nothing."""

    def undo(self) -> None:
        """Do nothing."""


_CONTENT = {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
}
_TARGETS = {
    "openinference:anthropic": "openinference.instrumentation.anthropic:AnthropicInstrumentor",
    "openinference:bedrock": "openinference.instrumentation.bedrock:BedrockInstrumentor",
    "openinference:cohere": "openinference.instrumentation.cohere:CohereInstrumentor",
    "openinference:google": "openinference.instrumentation.google_genai:GoogleGenAIInstrumentor",
    "openinference:groq": "openinference.instrumentation.groq:GroqInstrumentor",
    "openinference:langchain": "openinference.instrumentation.langchain:LangChainInstrumentor",
    "openinference:litellm": "openinference.instrumentation.litellm:LiteLLMInstrumentor",
    "openinference:mistral": "openinference.instrumentation.mistralai:MistralAIInstrumentor",
    "openinference:ollama": "openinference.instrumentation.ollama:OllamaInstrumentor",
    "openinference:openai": "openinference.instrumentation.openai:OpenAIInstrumentor",
    "genai:anthropic": "opentelemetry.instrumentation.genai.anthropic:AnthropicInstrumentor",
    "genai:bedrock": "opentelemetry.instrumentation.botocore:BotocoreInstrumentor",
    "genai:google": "opentelemetry.instrumentation.google_genai:GoogleGenAiSdkInstrumentor",
    "genai:openai": "opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor",
}
NAMES = ("decorator", "own:LIBRARY", *_TARGETS)


_OPENAI = ("openai", "azure-openai", "openrouter", "deepseek")
_GOOGLE = ("google", "google-vertex")
_PROVIDERS: dict[str, tuple[str, ...]] = {
    "anthropic": ("anthropic",), "bedrock": ("bedrock",), "cohere": ("cohere",), "google": _GOOGLE,
    "google-genai": _GOOGLE, "groq": ("groq",), "mistral": ("mistral",), "mistralai": ("mistral",),
    "ollama": ("ollama",), "openai": _OPENAI, "together": ("together",),
}  # fmt: skip


def list_providers(name: str) -> tuple[str, ...]:
    """Return the providers whose exchanges go through the library that an instrumentation watches."""
    return _PROVIDERS.get(name.partition(":")[2], PROVIDERS)


def find_instrumentation(name: str) -> Instrumentation:
    """Return the instrumentation of a name: `decorator`, `own:LIBRARY`, `openinference:LIBRARY`,
    `genai:LIBRARY` (OpenTelemetry's own).

    Raises:
        KeyError: nothing has that name.
    """
    family, _, library = name.partition(":")
    if family == "decorator":
        return Decorated()
    return Own(library) if family == "own" else Ridden(name, _TARGETS[name])
