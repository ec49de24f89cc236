"""What a live replay changes: model, parameters, prompts with their variables, code, and arguments."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from llm_trace.capture.prompts import Prompt, Rendered
from llm_trace.errors import ReplayError

if TYPE_CHECKING:
    from llm_trace.capture.spec import FunctionSpec
    from llm_trace.replays.tape import Taped

Templates = Mapping[tuple[str, str], str]
"""Name and version of a prompt -> its template."""
_UNFIT = (KeyError, IndexError, AttributeError, TypeError, ValueError)
"""What a template raises that is none of ours, as `{% if x %}`, or asks what a variable lacks."""
_KEYS = ("model", "params", "prompt", "variables", "code", "arguments")


@dataclass(frozen=True)
class MessageExchange:
    """Messages with which a model is asked first, and those in their place."""

    beginnings: tuple[Sequence[Any], ...]
    """One of which the program's lists of messages have, the longest that fits."""
    instead: Sequence[Any]

    def apply(self, messages: Any, name: str) -> list[Any]:
        """Return a list of messages with another beginning.

        Raises:
            ReplayError: the list, of a call of the function called `name`, begins otherwise.
        """
        asked = list(messages or ())
        for beginning in sorted(self.beginnings, key=len, reverse=True):
            if asked[: len(beginning)] == list(beginning):
                return [*self.instead, *asked[len(beginning) :]]
        raise ReplayError(
            f"{name} is asked messages that begin otherwise than all recorded ones do, so changed ones have "
            f"no place: record both sides with the program as it is now, or make the messages from Prompts"
        )


@dataclass(frozen=True)
class Overrides:
    """Changes to the calls that run live."""

    model: str | None = None
    """For calls of kind `llm` that take an argument `model`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """For calls of kind `llm` that take an argument of that name."""
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    """By the name of the prompt whose place each takes."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Of the prompts that the roots' arguments were made from."""
    code: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """By the name of the traced function that each runs for."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the roots: what the record does not hold."""
    messages: Mapping[str, MessageExchange] = field(default_factory=dict)
    """By the name of the traced function of a model, of its argument `messages`."""

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> Self:
        """Return what `replay(overrides=…)` means.

        Raises:
            ReplayError: there is no such override.
        """
        settings = dict(settings or {})
        if unknown := settings.keys() - set(_KEYS):
            raise ReplayError(f"override {min(unknown)!r} is unknown; choose of {', '.join(_KEYS)}")
        prompts = settings.pop("prompt", ())
        prompts = (prompts,) if isinstance(prompts, Prompt) else prompts
        return cls(prompts={prompt.name: prompt for prompt in prompts}, **settings)

    def changes(self, spec: FunctionSpec) -> bool:
        """Return whether calls of this function are made otherwise."""
        if spec.name in self.code:
            return True
        return spec.kind == "llm" and bool(self.model or self.params or spec.name in self.messages)

    def apply(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return the function to run for a call, its positional and its named arguments.

        Raises:
            ReplayError: the function takes no such argument.
        """
        run = self.code.get(spec.name) or spec.function
        run = getattr(run, "__llm_trace__", run)
        wanted = (
            dict(self.params) | ({"model": self.model} if self.model else {}) if spec.kind == "llm" else {}
        )
        exchange = self.messages.get(spec.name) if spec.kind == "llm" else None
        if run is None or not (wanted or exchange):
            return run, args, kwargs
        bound = inspect.signature(run).bind(*args, **kwargs)
        if exchange is not None:
            asked = {**kwargs, **bound.arguments}.get("messages")
            wanted["messages"] = exchange.apply(asked, spec.name)
        set_arguments(bound, wanted, spec.name)
        return run, bound.args, bound.kwargs

    def render_prompts(self, taped: Taped, templates: Templates) -> list[Rendered]:
        """Return the prompt that a call was made with, and the one in its place; none where not known.

        Raises:
            ReplayError: the prompt in its place has a variable that is not in the record, or does not fit it.
        """
        used = taped.prompt or {}
        template = templates.get((used.get("name", ""), used.get("version", "")))
        if template is None:
            return []
        variables = used.get("variables") or {}
        try:
            recorded = Prompt(used["name"], template)
            texts = [recorded.format(**variables)]
        except _UNFIT:
            return []
        changed = {name: value for name, value in self.variables.items() if name in variables}
        if used["name"] not in self.prompts and not changed:
            return texts
        try:
            return [*texts, self.prompts.get(used["name"], recorded).format(**{**variables, **changed})]
        except (KeyError, IndexError) as exc:
            raise ReplayError(
                f"prompt {used['name']!r} has a variable {exc} that {taped.name} ({taped.span_id}) was not "
                "recorded with"
            ) from exc
        except (AttributeError, TypeError, ValueError) as exc:
            raise ReplayError(
                f"prompt {used['name']!r} cannot be filled in with what {taped.name} ({taped.span_id}) was "
                f"recorded with: {exc}"
            ) from exc

    def reword(self, arguments: Any, rendered: Sequence[Rendered]) -> Any:
        """Return recorded arguments with the prompt in them rendered anew, where another takes its place."""
        return _with_text(arguments, *map(str, rendered)) if len(rendered) == 2 else arguments


def set_arguments(bound: inspect.BoundArguments, values: Mapping[str, Any], name: str) -> None:
    """Put values in the place of a call's arguments, by name.

    Raises:
        ReplayError: the function, called `name`, takes no such argument.
    """
    takes_any = [p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    for argument, value in values.items():
        if argument in bound.signature.parameters:
            bound.arguments[argument] = value
        elif takes_any:
            bound.arguments[takes_any[0]] = {**bound.arguments.get(takes_any[0], {}), argument: value}
        else:
            raise ReplayError(
                f"{name} takes no argument {argument!r}, so it cannot be changed: add the parameter, or pass "
                f"overrides={{'code': {{{name!r}: function}}}}"
            )


def parse_parameter(text: str) -> tuple[str, Any]:
    """Return the name and the value of `NAME=VALUE`; what is no JSON is a text.

    Raises:
        ReplayError: it is no such text.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ReplayError(f"{text!r} is no NAME=VALUE, such as temperature=0")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def _with_text(value: Any, old: str, new: str) -> Any:
    """Return JSON with one text in place of another."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [_with_text(item, old, new) for item in value]
    return {k: _with_text(v, old, new) for k, v in value.items()} if isinstance(value, dict) else value
