"""What an integration says of its library: where the methods are that call a model, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.record import Kind

ReadRequest = Callable[[Any, dict[str, Any]], dict[str, Any]]
"""Takes the object whose method is called (`None` for a function) and the arguments that were given, by name;
returns fields of the call, such as `provider`. What stands in `model`, `temperature` … is read without it.

Four more may be among them: `likely_provider`, in place of `provider` where the answer may tell another;
`input`, in place of the arguments; `read_response`, which reads the answer to this request; `read_inner`,
which is handed the object, the arguments and the output of each method of the library that is called inside.
"""
ReadResponse = Callable[[Any], dict[str, Any]]
"""Takes what a method returned; returns fields of the call, such as `usage`. Known shapes are read without
it."""
JoinChunks = Callable[[list[Any]], Any]
"""Takes a stream's chunks; returns the one output they make. Known streams are put together without it."""
Start = Callable[[], Callable[[], None]]
"""Switches something on in a library that is imported; returns what undoes it."""


@dataclass(frozen=True)
class RecordedAnswer:
    """What a library's server answered, as a replay gives it to the library again."""

    body: Any = None
    """The answer as JSON, where it was no stream."""
    events: list[Any] | None = None
    """The stream's events as JSON."""
    gaps: tuple[float, ...] = ()
    """Seconds before each event, where the replay keeps the pace."""
    error: Callable[[], BaseException] | None = None
    """Makes what the stream raises after its last event."""

    def iterate(self) -> Iterator[tuple[Any, float]]:
        """Yield each event and the seconds to wait before it.

        Raises:
            BaseException: what ended the stream when it was recorded.
        """
        for event, gap in zip_longest(self.events or (), self.gaps[: len(self.events or ())]):
            yield event, gap or 0.0
        if self.error is not None:
            raise self.error()


Replay = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], RecordedAnswer], Any]
"""Runs a method of the library with its arguments, where its server would be answered from the record."""


@dataclass(frozen=True)
class TracedMethod:
    """A method or function of a library that asks a model, a tool or an index."""

    path: str
    """Module and qualified name, `openai.resources.embeddings:Embeddings.create`; the module may be any that
    holds the class."""
    name: str
    """Name of its calls, `openai.embeddings.create`."""
    kind: Kind = "llm"
    recorded: bool = True
    """Whether it is a call; else it is only told to the call around it, which may have a `read_inner`."""
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
    methods: tuple[TracedMethod, ...] = ()
    read_request: ReadRequest | None = None
    read_response: ReadResponse | None = None
    join_chunks: JoinChunks | None = None
    replay: Replay | None = None
    """Without it a replay builds what was returned anew, as of any traced function."""
    starts: dict[str, Start] = field(default_factory=dict)
    """By the module to wait for: what is switched on by the library's own door, such as callbacks."""


def replace_attribute(owner: Any, name: str, other: Any) -> Callable[[], None]:
    """Put something else in the place of an attribute; return what puts it back, unless another lies over."""
    original = getattr(owner, name)

    def undo() -> None:
        if getattr(owner, name) is other:
            setattr(owner, name, original)

    setattr(owner, name, other)
    return undo
