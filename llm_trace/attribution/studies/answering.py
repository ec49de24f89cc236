"""A model that is asked many whole prompts, whether it can be opened or stands behind a callable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from llm_trace.attribution.models.generation import NoAnswerError
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import ParsedQuestion
from llm_trace.attribution.remote.error_policy import classify_failure
from llm_trace.attribution.remote.model import is_async, make_remote
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.core.value import Budget
    from llm_trace.attribution.remote.client import Caller

PromptLike = str | Sequence[Mapping[str, Any]]


class ToolPrompt(NamedTuple):
    """A prompt with the tools that the model may call."""

    prompt: PromptLike
    tools: tuple[Mapping[str, Any], ...]


AskedPrompt = PromptLike | ToolPrompt
Answered = str | Exception
"""An answer, or what the model raised instead."""


class Ask(Protocol):
    """Asks a model prompts, at once where it allows that."""

    def __call__(self, prompts: Sequence[AskedPrompt], *, lenient: bool = False) -> list[Answered]:
        """Return the answers.

        Args:
            prompts: what is asked.
            lenient: return the error where a prompt cannot be answered, rather than raise it.

        Raises:
            AttributionError: a prompt cannot be answered, or the model cannot be reached.
        """


@contextmanager
def open_answerer(model: Any, tokenizer: Any = None, *, budget: Budget | None = None) -> Iterator[Ask]:
    """Yield what asks a model.

    Args:
        model: as `attribute` takes it; and `tokenizer`. A callable with an argument `tools` gets those of a
            `ToolPrompt`.
        budget: of a model behind a callable.
    """
    if (far := make_remote(model)) is None:
        from llm_trace.attribution.models.loading import resolve_model

        yield LocalAnswerer(*resolve_model(model, tokenizer))
        return
    from llm_trace.attribution.proxies.asking import open_asker

    function = CaughtFunction(far.ask)
    with open_asker(far, function.call_async if is_async(far.ask) else function, budget=budget) as caller:
        yield RemoteAnswerer(caller, function)


@dataclass(frozen=True)
class LocalAnswerer:
    """Asks a model that can be opened, greedily; its answer may be empty."""

    model: Any
    tokenizer: Any
    name: str

    def __call__(self, prompts: Sequence[AskedPrompt], *, lenient: bool = False) -> list[Answered]:
        """Return the answers; see `Ask`."""
        return [self._generate(get_prompt(prompt), lenient=lenient) for prompt in prompts]

    def _generate(self, prompt: PromptLike, *, lenient: bool) -> Answered:
        question, loaded = ParsedQuestion(prompt, None), (self.model, self.tokenizer, self.name)
        try:
            return build_problem(question, *loaded, segments="line", target=None).text
        except NoAnswerError:
            return ""
        except AttributionError as exc:
            if lenient:
                return exc
            raise


@dataclass
class CaughtFunction:
    """A callable model that is passed tools where it takes them, and whose faults can be caught."""

    ask: Callable[..., Any]
    lenient: bool = False
    faults: dict[str, Exception] = field(default_factory=dict)
    """What it raised, by the prompt."""

    def __call__(self, prompt: AskedPrompt) -> Any:
        """Return the answer, an empty one where a fault is caught."""
        try:
            return self._call(prompt)
        except Exception as exc:  # noqa: BLE001  the program's own
            return self._catch(prompt, exc)

    async def call_async(self, prompt: AskedPrompt) -> Any:
        """Return the answer of an async callable."""
        try:
            return await self._call(prompt)
        except Exception as exc:  # noqa: BLE001  the program's own
            return self._catch(prompt, exc)

    def _call(self, prompt: AskedPrompt) -> Any:
        if isinstance(prompt, ToolPrompt) and check_takes_tools(self.ask):
            return self.ask(prompt.prompt, tools=[dict(tool) for tool in prompt.tools])
        return self.ask(get_prompt(prompt))

    def _catch(self, prompt: AskedPrompt, fault: Exception) -> str:
        if not self.lenient or classify_failure(fault) != "fatal":
            raise fault
        self.faults[repr(prompt)] = fault
        return ""


@dataclass(frozen=True)
class RemoteAnswerer:
    """Asks a model behind a callable."""

    caller: Caller
    function: CaughtFunction

    def __call__(self, prompts: Sequence[AskedPrompt], *, lenient: bool = False) -> list[Answered]:
        """Return the answers; see `Ask`."""
        from llm_trace.attribution.remote.client import ModelRequest

        self.function.lenient = lenient
        self.function.faults.clear()
        answers = self.caller.ask([ModelRequest(prompt) for prompt in prompts])
        if (stopped := self.caller.stopped) is not None:
            answered = sum(answer is not None for answer in answers)
            raise AttributionError(f"{stopped}: {answered} of {len(prompts)} prompts were answered")
        faults = self.function.faults
        texts = ["" if answer is None else answer.text for answer in answers]
        return [faults.get(repr(prompt), text) for prompt, text in zip(prompts, texts, strict=True)]


def check_takes_tools(model: Any) -> bool:
    """Return whether a model is a callable that can be given tools."""
    if (far := make_remote(model)) is None:
        return False
    try:
        parameters = inspect.signature(far.ask).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "tools" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def get_prompt(prompt: AskedPrompt) -> PromptLike:
    """Return a prompt without its tools."""
    return prompt.prompt if isinstance(prompt, ToolPrompt) else prompt
