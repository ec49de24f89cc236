"""Rows of the tables as the records of `llm_trace.record`."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import ValidationError

from llm_trace import semconv
from llm_trace.pricing.rates import COUNTS
from llm_trace.record import (
    Attribution,
    Call,
    CallError,
    Code,
    CostBasis,
    Document,
    Environment,
    Message,
    PromptUse,
    Record,
    Run,
    Score,
    Usage,
)
from llm_trace.semconv.documents import RETRIEVING, find_documents
from llm_trace.spool.messages import LOST, fill_messages
from llm_trace.stores.unrecorded_settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

StoredRow = dict[str, Any]
R = TypeVar("R", bound=Record)

NO_TRACE = "0" * 32
"""`trace_id` of a call whose start was never seen (OpenTelemetry's invalid id)."""
UNKNOWN = "unknown"
"""Name of such a call."""


class Bodies:
    """The bodies of messages by id, and the records made of them.

    Args:
        bodies: id -> the message as it was logged.
    """

    def __init__(self, bodies: Mapping[int, dict[str, Any]]) -> None:
        self._bodies = bodies
        self._messages: dict[int, Message] = {}
        self._json: dict[int | None, str] = {}

    def body(self, number: int | None) -> dict[str, Any]:
        """Return what was logged; a message whose line was lost says so."""
        body = None if number is None else self._bodies.get(number)
        return LOST if body is None else body

    def list_bodies(self, numbers: Sequence[int | None] | None) -> list[dict[str, Any]] | None:
        """Return what was logged for each number."""
        return None if numbers is None else [self.body(number) for number in numbers]

    def message(self, number: int | None) -> Message:
        """Return the message, normalised."""
        if number is None:
            return Message(role=LOST["role"])
        if number not in self._messages:
            self._messages[number] = as_message(self.body(number))
        return self._messages[number]

    def body_json(self, number: int | None) -> str:
        """Return what was logged as JSON."""
        return _dump(self.body(number))

    def message_json(self, number: int | None) -> str:
        """Return the message, normalised, as JSON."""
        if number not in self._json:
            lost = {"role": LOST["role"], "parts": []}
            self._json[number] = encode_message(
                lost if number is None else semconv.message(self.body(number))
            )
        return self._json[number]


def encode_message(raw: Mapping[str, Any]) -> str:
    """Return a normalised message as JSON, as `Message` writes it."""
    parts = [{"content": None, **part} for part in raw["parts"]]
    named = {"name": raw.get("name"), "finish_reason": raw.get("finish_reason")}
    return _dump({"role": raw["role"], "parts": parts, **named})


def _dump(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, lone surrogates
        return json.dumps(value)


def build_call(row: StoredRow, bodies: Bodies) -> Call:
    """Return the call of a row of `calls`."""
    ids_in, ids_out = row["messages_in"], row["messages_out"]
    arguments = fill_messages(parse_value(row["input"]), bodies.list_bodies(ids_in))
    result = fill_messages(parse_value(row["output"]), bodies.list_bodies(ids_out))
    return Call(
        trace_id=row["trace_id"] or NO_TRACE,
        span_id=row["span_id"],
        parent_id=row["parent_id"],
        name=row["name"] or UNKNOWN,
        kind=row["kind"],
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        status=row["status"],
        input=arguments,
        output=result,
        messages_in=_build_messages(ids_in, bodies)
        if ids_in is not None
        else read_messages("messages_in", arguments),
        messages_out=_build_messages(ids_out, bodies)
        if ids_out is not None
        else read_messages("messages_out", result),
        error=_build_error(row),
        model=row["model"],
        provider=row["provider"],
        params=_parse_mapping(row["params"]),
        usage=_build_usage(row),
        cost_usd=row["cost_usd"],
        cost_basis=_build_cost_basis(row),
        first_token_ns=row["first_token_ns"],
        prompt=_build_prompt(row),
        session=row["session"],
        user=row["user"],
        tags=_list_strings(row["tags"]),
        metadata=_parse_mapping(row["metadata"]),
        run=row["run"],
        code=_build_code(row),
        replay_of=row["replay_of"],
        documents=parse_documents(row) if row["kind"] in RETRIEVING else (),
    )


def parse_documents(row: StoredRow) -> tuple[Document, ...]:
    """Return the documents of a retriever's call, of its row of `calls` or as much of it as says them."""
    call = {
        "kind": row["kind"],
        "output": parse_value(row["output"]),
        "metadata": _parse_mapping(row["metadata"]),
    }
    return tuple(Document(**document, span_id=row["span_id"]) for document in find_documents(call))


def build_run(row: StoredRow) -> Run:
    """Return the run of a row of `runs`."""
    environment = parse_value(row["environment"])
    return Run(
        id=row["id"],
        name=row["name"] or row["id"],
        config=_parse_mapping(row["config"]),
        tags=_list_strings(row["tags"]),
        environment=_build_leniently(Environment, environment) if isinstance(environment, dict) else None,
        start_ns=row["start_ns"] or 0,
        end_ns=row["end_ns"],
        replay_of=row["replay_of"],
        fork_of=row["fork_of"],
    )


def build_score_record(row: StoredRow) -> Score:
    """Return the score of a row of `scores`."""
    value = parse_value(row["value"])
    return Score(
        span_id=row["span_id"],
        name=row["name"],
        value=value if isinstance(value, bool | int | float | str) else json.dumps(value),
        source=row["source"] if row["source"] in ("human", "code", "model") else "code",
        comment=row["comment"],
        time_ns=row["time_ns"] or 0,
    )


def build_attribution(row: StoredRow) -> Attribution | None:
    """Return the attribution of a row of `attributions`, `None` where the record cannot be read."""
    stored = {"span_id": row["span_id"], "time_ns": row["time_ns"], **_parse_mapping(row["attribution"])}
    if "settings" not in stored:
        stored["settings"] = parse_settings(stored)
    try:
        return Attribution.from_stored(stored)
    except ValidationError:
        return None


def parse_value(text: str | None) -> Any:
    """Return what a JSON column holds, or its text where that is nested too deeply to be read.

    Not orjson: it would turn integers above 64 bits into floats and refuse NaN.
    """
    try:
        return None if text is None else json.loads(text)
    except RecursionError:
        return text


def build_logged_message(row: StoredRow) -> dict[str, Any]:
    """Return the message of a row of `messages` as it was logged."""
    if row["body"] is None:
        return {"role": row["role"], "content": row["text"]}
    body = parse_value(row["body"])
    return body if isinstance(body, dict) else {"role": UNKNOWN, "content": body}


def as_message(raw: dict[str, Any]) -> Message:
    """Return a message of any provider's shape as ours."""
    return Message(**semconv.message(raw))


def read_messages(function: str, data: Any) -> tuple[Message, ...]:
    """Return the messages that `llm_trace.semconv` sees in an input or output without a cut-out list."""
    return () if data is None else tuple(Message(**raw) for raw in getattr(semconv, function)(data))


def _build_messages(ids: Sequence[int | None], bodies: Bodies) -> tuple[Message, ...]:
    return tuple(bodies.message(number) for number in ids)


def _parse_mapping(text: str | None) -> dict[str, Any]:
    value = parse_value(text)
    return value if isinstance(value, dict) else {}


def _list_strings(items: Sequence[str | None] | None) -> tuple[str, ...]:
    return tuple(item for item in items or () if item is not None)


def _build_usage(row: StoredRow) -> Usage | None:
    counts = {name: row[name] for name in COUNTS}
    if all(count is None for count in counts.values()):
        return None
    return Usage(**counts, details=_parse_counts(row["usage_details"]), tier=row["tier"])


def _parse_counts(text: str | None) -> dict[str, int]:
    counts = {} if text is None else _parse_mapping(text)
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _build_cost_basis(row: StoredRow) -> CostBasis | None:
    if row["cost_basis"] is None or row["cost_usd"] is None:
        return None
    return parse_cost_basis(row["cost_basis"])


@lru_cache(1_000)
def parse_cost_basis(text: str) -> CostBasis | None:
    """Return what a cost rests on; calls of one model share one record."""
    try:
        return CostBasis.model_validate_json(text)
    except ValidationError:
        return None


def _build_error(row: StoredRow) -> CallError | None:
    if row["error_type"] is None:
        return None
    return CallError(type=row["error_type"], message=row["error_message"], traceback=row["error_traceback"])


def _build_prompt(row: StoredRow) -> PromptUse | None:
    if row["prompt_name"] is None:
        return None
    return PromptUse(
        name=row["prompt_name"],
        version=row["prompt_version"] or "",
        variables=_parse_mapping(row["prompt_variables"]),
    )


def _build_code(row: StoredRow) -> Code | None:
    if row["code_function"] is None:
        return None
    return Code(
        function=row["code_function"], file=row["code_file"], line=row["code_line"], commit=row["code_commit"]
    )


def _build_leniently(record: type[R], data: Mapping[str, Any]) -> R | None:
    """Return the record without the keys it does not know, `None` where it cannot be made."""
    try:
        return record(**{name: item for name, item in data.items() if name in record.model_fields})
    except ValidationError:
        return None
