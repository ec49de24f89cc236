"""What is known of a traced function before it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from llm_trace.capture.binding import Binder
    from llm_trace.capture.protocols import Template

Shape = Literal["function", "coroutine", "generator", "async_generator"]


def bind_nothing(*_: Any, **__: Any) -> dict[str, Any]:
    """Bind no arguments."""
    return {}


@dataclass(eq=False)
class FunctionSpec:
    """Options of one traced function, worked out once."""

    name: str
    kind: str = "chain"
    model: str | None = None
    prompt: Template | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    capture_input: bool = True
    capture_output: bool = True
    output_reducer: Callable[[list[Any]], Any] | None = None
    attribution: Any = None
    bind: Binder = bind_nothing
    code: dict[str, Any] | None = None
    function: Callable[..., Any] | None = None
    """The traced function; `None` for a block of code."""
    shape: Shape = "function"
    served: bool = False
    """Of a kind that a replay may answer from the record."""
    asks_model: bool = False
    """Arguments may name the model and its parameters."""
    library: str | None = None
    """The library whose method this is, where an integration traces it."""
    read_request: Callable[[Any, dict[str, Any]], Mapping[str, Any]] | None = None
    """Gives fields of the call from the object whose method is called and the arguments; never raises."""
    read_response: Callable[[Any], Mapping[str, Any]] | None = None
    """Gives fields of the call from what was returned; never raises."""
    replay: Callable[..., Any] | None = None
    """Runs the library's own code against a recorded answer: nothing but the answer has to be kept."""
    head: tuple[bytes, dict[str, Any], bytes] = b"", {}, b""
    """What every call of it says alike, in the words of the recorder `head_of`."""
    head_of: Any = None


SERVED = frozenset(["llm", "tool", "retriever", "embedding", "reranker"])
"""Kinds of calls that leave the program; the rest of a pipeline runs for real in a replay."""
