"""What a call is made of: messages, tokens, what its cost rests on, error, prompt, code, documents, and where
the words of its prompt come from.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

CostSource = Literal["reported", "genai-prices", "own"]
TextOrigin = Literal["system", "user", "tool", "retrieved", "outside"]
"""Who brought words into a prompt: the program's author, its user, a tool, a retriever, or anybody else."""
ORIGINS: tuple[TextOrigin, ...] = get_args(TextOrigin)
"""From the most trusted to the least."""
OUTSIDE: frozenset[TextOrigin | None] = frozenset(("tool", "retrieved", "outside"))
"""What neither the author nor the user wrote."""


class Record(BaseModel):
    """Base of the vocabulary: immutable, unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Part(Record):
    """One piece of a message, in the shape of OpenTelemetry's GenAI messages."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    type: str
    """`text`, `reasoning`, `tool_call`, `tool_call_response`, `blob`, `file`, `uri` or a provider's name."""
    content: Any = None
    """Text of `text` and `reasoning` parts; data of the others where they have one field for it."""


class Message(Record):
    """One message of a conversation."""

    role: str
    """`system`, `user`, `assistant`, `tool` or a provider's own name."""
    parts: tuple[Part, ...] = ()
    name: str | None = None
    finish_reason: str | None = None
    """Why the model stopped; output messages only."""

    @property
    def text(self) -> str:
        """The text parts, joined by new lines."""
        return "\n".join(p.content for p in self.parts if p.type == "text" and isinstance(p.content, str))


class Usage(Record):
    """Tokens as the provider counted them. `None` means not reported, never 0."""

    input_tokens: int | None = None
    """Includes tokens read from and written to the provider's cache."""
    output_tokens: int | None = None
    """Includes reasoning tokens."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    details: dict[str, int] = Field(default_factory=dict)
    """Counts with prices of their own: `cache_write_1h_tokens`, `input_audio_tokens`, `web_searches` …"""
    tier: str | None = None
    """Service tier that answered: `standard`, `batch`, `flex`, `priority`, `fast`."""


class CostBasis(BaseModel, frozen=True, defer_build=True):
    """What the cost of a call rests on: an entry in a list of prices, or what somebody said."""

    source: CostSource
    """`reported` by provider, sender or user; else the list of prices, `own` being a price file."""
    version: str | None = None
    """Of the list; of a price file the first 12 hex digits of its SHA-256."""
    provider: str | None = None
    model: str | None = None
    tier: str | None = None
    usd_per_million: dict[str, float] = Field(default_factory=dict)
    """The price by what is counted; what has none costs as much as the count that it is part of."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value not in (None, {})}


class CallError(Record):
    """The exception that ended a call."""

    type: str
    """Qualified name of the exception's class."""
    message: str | None = None
    """`str(exception)`; `None` where content is not captured."""
    traceback: str | None = None


class PromptUse(Record):
    """Which prompt a call was made with."""

    name: str
    version: str
    """First 12 hex digits of the SHA-256 of the template."""
    variables: dict[str, Any] = Field(default_factory=dict)


class Code(Record):
    """Where the traced function is defined."""

    function: str
    """`module:qualname`."""
    file: str | None = None
    line: int | None = None
    commit: str | None = None
    """Git commit of the working directory when the run started."""


class Document(Record):
    """What a retriever gave: a passage, and what the retriever thinks of it."""

    content: str | None = None
    """The text; `None` where only id and score were recorded."""
    id: str | None = None
    score: float | None = None
    """The retriever's own, on its own scale."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    span_id: str | None = None
    """The call that gave it."""


class OriginWeight(Record):
    """What all words of one origin do for a response together."""

    origin: TextOrigin | None
    """`None`: the model's own earlier words, and what nobody said anything about."""
    value: float
    """Exact Shapley value among the origins, in the attribution's unit: positive supports the target."""
    low: float
    """Least value over the ways of taking words away that were tried."""
    high: float
