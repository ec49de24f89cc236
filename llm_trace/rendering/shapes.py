"""What rendering reads of calls, runs, prompts and scores; the records of `llm_trace.record` are such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from llm_trace.call_parts import CallError, Document, Message, PromptUse, Usage


class ShownCall(Protocol):
    """A call with all that is shown of it."""

    @property
    def trace_id(self) -> str: ...

    @property
    def span_id(self) -> str: ...

    @property
    def parent_id(self) -> str | None: ...

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int | None: ...

    @property
    def duration_ns(self) -> int | None: ...

    @property
    def first_token_ns(self) -> int | None: ...

    @property
    def status(self) -> str: ...

    @property
    def input(self) -> Any: ...

    @property
    def output(self) -> Any: ...

    @property
    def messages_in(self) -> Sequence[Message]: ...

    @property
    def messages_out(self) -> Sequence[Message]: ...

    @property
    def error(self) -> CallError | None: ...

    @property
    def model(self) -> str | None: ...

    @property
    def provider(self) -> str | None: ...

    @property
    def params(self) -> Mapping[str, Any]: ...

    @property
    def usage(self) -> Usage | None: ...

    @property
    def cost_usd(self) -> float | None: ...

    @property
    def prompt(self) -> PromptUse | None: ...

    @property
    def session(self) -> str | None: ...

    @property
    def user(self) -> str | None: ...

    @property
    def tags(self) -> Sequence[str]: ...

    @property
    def metadata(self) -> Mapping[str, Any]: ...

    @property
    def run(self) -> str | None: ...

    @property
    def documents(self) -> Sequence[Document]: ...


class ShownEnvironment(Protocol):
    """What a run ran on."""

    @property
    def python(self) -> str: ...

    @property
    def platform(self) -> str: ...

    @property
    def packages(self) -> Mapping[str, str]: ...

    @property
    def git_commit(self) -> str | None: ...

    @property
    def git_dirty(self) -> bool | None: ...

    @property
    def seed(self) -> int | None: ...


class ShownRun(Protocol):
    """A run with all that is shown of it."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def tags(self) -> Sequence[str]: ...

    @property
    def environment(self) -> ShownEnvironment | None: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int | None: ...

    @property
    def replay_of(self) -> str | None: ...

    @property
    def fork_of(self) -> str | None: ...


class ShownPrompt(Protocol):
    """A version of a prompt."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def template(self) -> str: ...

    @property
    def first_ns(self) -> int: ...

    @property
    def last_ns(self) -> int: ...

    @property
    def calls(self) -> int: ...


class ShownScore(Protocol):
    """A score of a call."""

    @property
    def span_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> float | str | bool: ...

    @property
    def source(self) -> str: ...

    @property
    def comment(self) -> str | None: ...

    @property
    def time_ns(self) -> int: ...
