"""The errors that llm_trace raises, one tree.

    LLMTraceError
    ├── ConfigurationError      a setting that cannot work
    │   ├── ScenarioError       a scenario that cannot be read, or makes no instances
    │   └── RuleError           a rule that cannot be read or asked
    ├── MissingExtraError       an optional library is not installed (also an ImportError)
    ├── StoreError
    │   ├── StoreNotFoundError  neither a store nor a spool at that path (also a FileNotFoundError)
    │   ├── StoreLockedError    another process held the store longer than the time-out
    │   └── StoreVersionError   written by a newer llm_trace
    ├── NotFoundError           no such call, run or prompt in the store (also a LookupError)
    ├── JudgeError              the answer of a judge that cannot be read to the letter (also a ValueError)
    ├── GuardError              a guarded tool was not let through
    ├── ReplayError             a replay that cannot be made
    │   ├── DivergenceError     the program asks something else than it did when it was recorded
    │   └── CassetteError       a cassette is missing or cannot be read
    └── AttributionError        an attribution that cannot be computed

Nothing of this reaches a decorated function, but for what its own guard says: inside `capture` failures are
counted and logged once.
"""

from __future__ import annotations

from typing import Any


class LLMTraceError(Exception):
    """Base of every error that llm_trace raises."""


class ConfigurationError(LLMTraceError, ValueError):
    """A setting cannot work; the message names it and what it may be."""


class ScenarioError(ConfigurationError):
    """A scenario cannot be read or makes no instances; the message says why and what to change.

    `where` are the keys that lead to the place in the scenario, such as `("slots", "days", "integer")`.
    """

    def __init__(self, message: str, *, where: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.where = where


class RuleError(ConfigurationError):
    """A rule cannot be read or asked; the message names the place and what to change."""


class MissingExtraError(LLMTraceError, ImportError):
    """An optional library is absent; the message is the `pip install` line."""


class StoreError(LLMTraceError):
    """A store cannot be read or written."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """Neither a store nor its spool exists at the path."""


class StoreLockedError(StoreError, TimeoutError):
    """Another process held the store's file longer than the time-out."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of llm_trace."""


class NotFoundError(LLMTraceError, LookupError):
    """The store has no call, run or prompt of that name or id."""


class AttributionError(LLMTraceError, ValueError):
    """An attribution cannot be computed; the message says why and what to change."""


class JudgeError(LLMTraceError, ValueError):
    """A judge's answer cannot be read to the letter; the message has it."""


class GuardError(LLMTraceError):
    """A guarded tool was not let through; the message says what made the model ask for it.

    `finding` is what the tool's call has under `guard` in its metadata: the weights of outside text and of
    the user's words with their bounds, and the sentence with its share; or why nothing could be weighed.
    """

    def __init__(self, message: str, *, finding: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.finding = finding or {}


class ReplayError(LLMTraceError):
    """A call cannot be replayed; the message names it, the reason and what to do."""


class DivergenceError(ReplayError):
    """A replayed program asks something that is not in the record; the message shows now and then."""


class CassetteError(ReplayError):
    """A test's cassette is missing or cannot be read; the message names file, line and remedy."""
