"""What an integration says of its library: where the methods are that call a model, and how to read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.record import Kind

ReadRequest = Callable[[Any, dict[str, Any]], dict[str, Any]]
"""Takes the object whose method is called (`None` for a function) and the arguments that were given, by name;
returns fields of the call, such as `provider`. What stands in `model`, `temperature` … is read without it."""
ReadResponse = Callable[[Any], dict[str, Any]]
"""Takes what a method returned; returns fields of the call, such as `usage`. Known shapes are read without
it."""
JoinChunks = Callable[[list[Any]], Any]
"""Takes a stream's chunks; returns the one output they make. Known streams are put together without it."""
Start = Callable[[], Callable[[], None]]
"""Switches something on in a library that is imported; returns what undoes it."""


@dataclass(frozen=True)
class Method:
    """A method or function of a library that asks a model, a tool or an index."""

    path: str
    """Module and qualified name, `openai.resources.embeddings:Embeddings.create`; the module may be any that
    holds the class."""
    name: str
    """Name of its calls, `openai.embeddings.create`."""
    kind: Kind = "llm"
    since: bool = True
    """Whether every supported version has it: only then is it said when it is missing."""


@dataclass(frozen=True)
class Integration:
    """How one library becomes traced calls."""

    library: str
    """Name that users give to `instrument`."""
    module: str
    """What the program imports."""
    distribution: str
    """What is installed."""
    versions: str
    """Supported versions, as a specifier: `>=1.40`."""
    tried: str
    """Versions that its tests ran with."""
    methods: tuple[Method, ...] = ()
    read_request: ReadRequest | None = None
    read_response: ReadResponse | None = None
    join_chunks: JoinChunks | None = None
    starts: dict[str, Start] = field(default_factory=dict)
    """By the module to wait for: what is switched on by the library's own door, such as callbacks."""
