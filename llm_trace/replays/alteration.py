"""What a fork changes at one recorded call: what it gave, or what it was asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from llm_trace.errors import ReplayError
from llm_trace.replays.messages import edit_messages, iter_fields, put_field, read_message_field
from llm_trace.replays.overrides import set_arguments

if TYPE_CHECKING:
    from llm_trace.replays.tape import Taped

AlterationKind = Literal["output", "output_text", "arguments", "messages", "input_text"]
ALTERATIONS: tuple[AlterationKind, ...] = get_args(AlterationKind)


@dataclass(frozen=True)
class Alteration:
    """A change at one recorded call."""

    span_id: str
    kind: AlterationKind
    value: Any
    """Of `output`: what the call gives. Of `arguments`: values by name. Of `messages`: index to a message,
    its new text, old texts in it to new, or `None` for one that is left out. Of texts: old to new, `None` for
    a message that is left out. `None`: nothing is changed.
    """
    lasting: bool = False
    """What is changed in the input is changed in that of each later call of a model as well."""

    @classmethod
    def of(cls, span_id: str, settings: Mapping[str, Any] | None) -> Self:
        """Return what `replay(set=…)` means.

        Raises:
            ReplayError: it names nothing that can be changed, or more than one thing.
        """
        settings = dict(settings or {})
        if len(settings) != 1 or not settings.keys() <= set(ALTERATIONS):
            raise ReplayError(
                f"a fork changes one thing, and set has {', '.join(map(repr, settings)) or 'none'}: set one "
                f"of {', '.join(ALTERATIONS)}, such as {{'output': 'no such order'}}"
            )
        kind = next(each for each in ALTERATIONS if each in settings)
        value = settings[kind]
        if kind != "output" and not (isinstance(value, Mapping) and value):
            raise ReplayError(f"set={{{kind!r}: …}} takes what to change by name, not {value!r}")
        return cls(span_id, kind, value)

    def undo(self) -> Alteration:
        """Return what forks there without a change: the call gives what it gave, or is asked what it was."""
        return Alteration(self.span_id, "output_text" if self.answers else "input_text", None)

    @property
    def answers(self) -> bool:
        """Whether the call is not made but gives something else."""
        return self.kind in ("output", "output_text")

    @property
    def is_object(self) -> bool:
        """Whether what the call gives is an object of Python's, to be given as it is, and no JSON."""
        return self.kind == "output" and not _is_json(self.value)

    def change_answer(self, taped: Taped) -> Taped:
        """Return a recorded call with what it gave changed.

        Raises:
            ReplayError: the text is not in its output.
        """
        if self.value is None and self.kind == "output_text":
            return taped
        if self.kind == "output":
            return _put_output(taped, self.value)
        output, count = replace_texts(taped.output, self.value)
        stream = taped.rebuild.get("stream", {})
        if "chunks" in stream:
            chunks, in_chunks = replace_texts(stream["chunks"], self.value)
            taped = replace(taped, rebuild={**taped.rebuild, "stream": {**stream, "chunks": chunks}})
            count += in_chunks
        if not count:
            raise self._build_refusal(taped, "gave")
        return _put_output(taped, output)

    def change_input(
        self, taped: Taped, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and named arguments with what is asked changed.

        Raises:
            ReplayError: there is no such argument, message or text.
        """
        if self.value is None:
            return args, kwargs
        bound = inspect.signature(function).bind(*args, **kwargs)
        if self.kind == "arguments":
            set_arguments(bound, self.value, f"{taped.name} ({taped.span_id})")
        elif self.kind == "messages":
            _change_messages(bound, self.value, taped)
        else:
            bound.arguments, count = replace_texts(dict(bound.arguments), self.value)
            if not count and not self.lasting:
                raise self._build_refusal(taped, "was asked")
        return bound.args, bound.kwargs

    def _build_refusal(self, taped: Taped, verb: str) -> ReplayError:
        texts = ", ".join(repr(str(old)[:60]) for old in self.value)
        return ReplayError(
            f"{texts} is not in what {taped.name} ({taped.span_id}) {verb}: `llm-trace show "
            f"{taped.span_id}` has its text"
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as a run's configuration keeps it."""
        return {self.kind: str(self.value) if self.is_object else self.value}


def replace_texts(value: Any, texts: Mapping[str, str | None]) -> tuple[Any, int]:
    """Return a value of lists, tuples and dicts with texts in place of others, and how many were replaced;
    objects in it stay as they are.

    Args:
        texts: old to new; `None` leaves out a message whose whole content the old text is, and is nothing
            elsewhere.
    """
    if isinstance(value, str):
        count = sum(value.count(old) for old in texts)
        for old, new in texts.items():
            value = str.replace(value, old, new or "")
        return value, count
    if isinstance(value, list | tuple):
        parts = [replace_texts(item, texts) for item in value if not _is_left_out(item, texts)]
        count = sum(n for _, n in parts) + len(value) - len(parts)
        if not count:
            return value, 0
        items = [part for part, _ in parts]
        return (items if isinstance(value, list) else tuple(items)), count
    if isinstance(value, dict):
        pairs = {key: replace_texts(item, texts) for key, item in value.items()}
        count = sum(n for _, n in pairs.values())
        return ({key: part for key, (part, _) in pairs.items()} if count else value), count
    return value, 0


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return value is None or isinstance(value, str | int | float)


def _is_left_out(item: Any, texts: Mapping[str, str | None]) -> bool:
    content = item.get("content") if isinstance(item, dict) and "role" in item else None
    return isinstance(content, str) and content in texts and texts[content] is None


def _put_output(taped: Taped, output: Any) -> Taped:
    """Return a recorded call that gave something else, and did not fail."""
    rebuild = {name: hints for name, hints in taped.rebuild.items() if name not in ("masked", "error")}
    if "stream" in rebuild and isinstance(output, str):
        rebuild["stream"] = {"lengths": [len(output)]}
    elif "stream" in rebuild and "chunks" not in rebuild["stream"]:
        rebuild["stream"] = {}
    return replace(taped, output=output, rebuild=rebuild, status="ok", error=None)


def _change_messages(bound: inspect.BoundArguments, changes: Mapping[Any, Any], taped: Taped) -> None:
    """Change messages of the one list of them that is among the arguments, at any depth."""

    def edit(messages: Sequence[Any]) -> list[Any]:
        edited = list(messages)
        for place, change in changes.items():
            index = int(place) if str(place).lstrip("-").isdecimal() else len(messages)
            if not -len(messages) <= index < len(messages):
                raise ReplayError(
                    f"{taped.name} ({taped.span_id}) has {len(messages)} messages, so none of index "
                    f"{place}: choose 0 to {len(messages) - 1}"
                )
            edited[index], count = _change_message(edited[index], change)
            if not count:
                raise ReplayError(
                    f"{', '.join(repr(str(old)[:60]) for old in change)} is not in message {place} of "
                    f"{taped.name} ({taped.span_id}): `llm-trace show {taped.span_id}` has its text"
                )
        return [message for message in edited if message is not None]

    arguments = edit_messages(dict(bound.arguments), edit)
    if arguments is None:
        raise ReplayError(
            f"{taped.name} ({taped.span_id}) takes no list of messages: change its arguments instead"
        )
    bound.arguments = arguments


def _change_message(message: Any, change: Any) -> tuple[Any, int]:
    """Return a message with its content changed, and at how many places; of a mapping without a role, old
    texts to new, those of its parts.
    """
    if isinstance(change, str):
        return put_field(message, "content", change), 1
    if not isinstance(change, Mapping) or "role" in change:
        return change, 1
    total = 0
    for name in ("content", "parts", "output"):
        if (body := read_message_field(message, name)) is not None:
            edited, count = _replace_in_parts(body, change)
            message, total = put_field(message, name, edited), total + count
    return message, total


def _replace_in_parts(body: Any, texts: Mapping[str, str | None]) -> tuple[Any, int]:
    """Return what a message says with texts in place of others, as `replace_texts`; in the SDKs' own objects
    too, which are copied.
    """
    if isinstance(body, list | tuple):
        parts = [_replace_in_parts(part, texts) for part in body]
        return [part for part, _ in parts], sum(count for _, count in parts)
    if isinstance(body, str | dict):
        return replace_texts(body, texts)
    total = 0
    for name, item in iter_fields(body):
        edited, count = _replace_in_parts(item, texts)
        if count:
            body, total = put_field(body, name, edited), total + count
    return body, total
