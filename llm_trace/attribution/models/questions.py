"""What is asked before the model is known: a prompt, a response, and whose words the prompt consists of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.question import chat
from llm_trace.attribution.question.chunks import Chunks
from llm_trace.attribution.question.origins import OriginSources, ToolResult, check_origins
from llm_trace.attribution.question.tool_answers import list_tool_answers
from llm_trace.capture.prompts import Rendered
from llm_trace.capture.redaction import MASK
from llm_trace.errors import AttributionError
from llm_trace.record import Call, Document, Segment

if TYPE_CHECKING:
    from llm_trace.attribution.question.segments import SegmentSpec
    from llm_trace.record import TextOrigin


@dataclass(frozen=True)
class ParsedQuestion:
    """The question before the model is known."""

    prompt: str | Sequence[Mapping[str, Any]]
    response: str | None
    variables: Mapping[str, Any] = field(default_factory=dict)
    span_id: str | None = None
    model: str | None = None
    """Name of the model that answered, when a call says it."""
    documents: tuple[Document, ...] = ()
    """What was retrieved for the prompt."""
    origins: Mapping[str, TextOrigin] = field(default_factory=dict)
    """Whose words variables, tools' answers and roles hold, by name, where it was named."""
    tool_answers: tuple[ToolResult, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """What the model answered where it called tools: in words once its chat template is known."""
    apart: bool = False
    """Whether a segment ends where the words of somebody else begin."""

    @property
    def sources(self) -> OriginSources:
        """What is known of whose words the prompt consists of."""
        texts = [self.prompt] if isinstance(self.prompt, str) else [m.get("content") for m in self.prompt]
        rendered = [text for text in texts if isinstance(text, Rendered)]
        return OriginSources(
            names={**{k: v for text in rendered for k, v in text.origins.items()}, **self.origins},
            variables={**self.variables, **{k: v for text in rendered for k, v in text.variables.items()}},
            spans=self.prompt.spans if isinstance(self.prompt, Rendered) else {},
            tool_answers=self.tool_answers,
            documents=self.documents,
        )

    def name_origins(self, origins: Mapping[str, Any] | None) -> ParsedQuestion:
        """Return the question with whose words some variables, answers of tools and roles hold.

        Raises:
            AttributionError: a name is neither a variable of the prompt nor a tool or role of its messages,
                or an origin is none.
        """
        if not origins:
            return self
        messages = () if isinstance(self.prompt, str) else self.prompt
        names = {*self.sources.variables, *(str(message.get("role", "user")) for message in messages)}
        names |= {answer.tool for answer in self.tool_answers if answer.tool is not None}
        if unknown := sorted(map(str, set(origins) - names)):
            raise AttributionError(
                f"origins: {', '.join(map(repr, unknown))} is neither a variable of the prompt nor a tool or "
                f"role of its messages; there are {', '.join(sorted(names)) or 'none'}"
            )
        return replace(self, origins={**self.origins, **check_origins(origins)})

    @property
    def logged(self) -> bool:
        """Whether it is about a logged call, whose model need not be the one that is asked now."""
        return self.span_id is not None

    @property
    def redacted(self) -> bool:
        """Whether a part of the prompt was masked before it was written."""
        texts = [self.prompt] if isinstance(self.prompt, str) else [chat.get_content(m) for m in self.prompt]
        return self.logged and any(MASK in text for text in texts)


def parse_question(call_or_prompt: Any, response: str | None) -> ParsedQuestion:
    """Return the question from a text, messages or a call.

    Raises:
        AttributionError: the call has no prompt or no response in words, or the prompt is neither.
    """
    if isinstance(call_or_prompt, Call):
        return _parse_call(call_or_prompt, response)
    if isinstance(call_or_prompt, str):
        return ParsedQuestion(call_or_prompt, response)
    if isinstance(call_or_prompt, Sequence) and all(isinstance(m, Mapping) for m in call_or_prompt):
        return ParsedQuestion(tuple(call_or_prompt), response, tool_answers=list_tool_answers(call_or_prompt))
    raise AttributionError(
        f"the prompt is a {type(call_or_prompt).__name__}; give a str, a list of message dicts or a Call"
    )


def _parse_call(call: Call, response: str | None) -> ParsedQuestion:
    answer = response if response is not None else read_answer(call)
    tool_calls = () if answer else list_tool_calls(call)
    if not answer and not tool_calls:
        raise AttributionError(
            f"call {call.span_id} ({call.name}) has no response text ({call.status}): there is nothing to "
            "explain"
        )
    origins = call.metadata.get("origins")
    return ParsedQuestion(
        _get_prompt(call),
        answer,
        call.prompt.variables if call.prompt else {},
        call.span_id,
        call.model,
        call.documents,
        check_origins(origins) if isinstance(origins, Mapping) else {},
        list_tool_answers([message.model_dump() for message in call.messages_in]),
        tool_calls,
    )


def list_tool_calls(call: Call) -> tuple[dict[str, Any], ...]:
    """Return the tools that a call of a model asked for: each with its name and arguments."""
    return pick_tool_calls([message.model_dump() for message in call.messages_out])


def pick_tool_calls(messages: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return the tools that an answer's messages ask for, in the form of the record."""
    parts = [part for message in messages for part in message.get("parts", ())]
    return tuple(dict(part) for part in parts if part.get("type") == "tool_call")


def read_answer(call: Call) -> str | None:
    """Return what a call answered in words; `None` where it did not."""
    if isinstance(call.output, str):
        return call.output
    return "\n".join(m.text for m in call.messages_out) or None


def _get_prompt(call: Call) -> str | Sequence[Mapping[str, Any]]:
    """Return the messages or the one text that a call was given."""
    if call.messages_in:
        return tuple(chat.build_template_message(m) for m in call.messages_in)
    inputs = call.input if isinstance(call.input, Mapping) else {"prompt": call.input}
    messages = inputs.get("messages")
    if isinstance(messages, Sequence) and messages and all(isinstance(m, Mapping) for m in messages):
        return tuple(messages)
    texts = {name: value for name, value in inputs.items() if isinstance(value, str)}
    if "prompt" in texts:
        return texts["prompt"]
    if len(texts) == 1:
        return next(iter(texts.values()))
    raise AttributionError(
        f"call {call.span_id} ({call.name}) has no messages and {len(texts)} texts as input "
        f"({', '.join(texts) or 'none'}): pass the prompt itself, or name the argument 'prompt'"
    )


def resolve_segments(question: ParsedQuestion, segments: SegmentSpec) -> SegmentSpec:
    """Return the segments that a name stands for, where only the question knows them."""
    if segments == "variable":
        return find_variable_spans(question)
    return build_chunks(question) if segments == "chunk" else segments


def build_chunks(question: ParsedQuestion) -> Chunks:
    """Return the documents that were retrieved for the prompt.

    Raises:
        AttributionError: none is known.
    """
    if not question.documents:
        raise AttributionError(
            "segments='chunk' needs a call from a store, in whose trace a call of kind 'retriever' ended "
            "before it; or give the documents themselves: segments=[...]"
        )
    return Chunks(question.documents)


def find_variable_spans(question: ParsedQuestion) -> SegmentSpec:
    """Return where the prompt's variables stand: known exactly for a `Prompt.format` result, found by
    value in a call.
    """
    if isinstance(question.prompt, Rendered) and question.prompt.spans:
        text = question.prompt
        return [
            Segment(start=a, end=b, text=text[a:b], kind="variable", name=name)
            for name, (a, b) in text.spans.items()
            if b > a
        ]
    if question.variables:
        return question.variables
    raise AttributionError(
        "segments='variable' needs a prompt made by Prompt.format, a call that used one, or "
        "segments={'name': 'value'}"
    )
