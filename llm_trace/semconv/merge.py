"""Several accounts of one model call: whether they are of the same, and the one whole call that they make.

A decorator, a framework and a client each tell of a request in a span of their own. Calls are mappings by the
names of `llm_trace.record.Call`, as `ended_call` returns them.
"""

from __future__ import annotations

from typing import Any

from llm_trace.semconv import names
from llm_trace.semconv.shapes import CallFields
from llm_trace.semconv.values import get_field, get_text, list_fields

MODEL_KINDS = frozenset({"llm", "embedding", "reranker"})
"""Kinds whose tokens a provider counts."""
_FILLED = (
    "model", "provider", "input", "output", "error", "cost_usd", "cost_basis", "first_token_ns", "session",
    "user", "prompt", "run", "code",
)  # fmt: skip


_PAID = ("usage", "cost_usd", "cost_basis")
_LANGCHAIN_IDS = "run-", "lc_"
"""How the ids begin that LangChain itself gives to answers."""


def check_same(one: CallFields, other: CallFields) -> bool:
    """Say whether two calls, one inside the other, are accounts of one request.

    The response's id decides where both have it. Else kinds and models agree, and token counts where both
    have them; cached tokens may be in the input of one and beside that of the other.
    """
    if one.get("kind") != other.get("kind"):
        return False
    ids = get_response_id(one), get_response_id(other)
    if None not in ids:
        return ids[0] == ids[1]
    return _check_models(one, other) and _check_counts(
        list_fields(one.get("usage")), list_fields(other.get("usage"))
    )


def check_clearly_same(one: CallFields, other: CallFields) -> bool:
    """Say whether two calls that are the same prove it: by the response's id, by equal token counts, or by
    equal words where nobody has counted.
    """
    if not check_same(one, other):
        return False
    if get_response_id(one) is not None and get_response_id(other) is not None:
        return True
    counts = get_counts(one), get_counts(other)
    if counts == ((None, None), (None, None)):
        answer = hash_answer(one)
        return answer is not None and answer == hash_answer(other)
    return counts[0] == counts[1] and None not in counts[0]


def check_twins(one: CallFields, other: CallFields) -> bool:
    """Say whether two calls side by side are accounts of one request, by two instrumentations.

    One instrumentation tells of a request once, so two calls with a scope in common are two requests.
    """
    scopes = list_scopes(one), list_scopes(other)
    if not all(scopes) or scopes[0] & scopes[1]:
        return False
    return check_overlap(one, other) and (check_clearly_same(one, other) or _check_same_question(one, other))


def _check_same_question(one: CallFields, other: CallFields) -> bool:
    """Say whether two calls that are the same ask in equal words, and one tells nothing of the answer: it is
    of a raw response that is still to be read.
    """
    silent = any(not each.get("usage") and not each.get("messages_out") for each in (one, other))
    questions = [_join_texts(each.get("messages_in")) for each in (one, other)]
    return silent and bool(questions[0]) and questions[0] == questions[1] and check_same(one, other)


def list_scopes(call: CallFields) -> set[str]:
    """Return which instrumentations tell of a call: theirs by their scope, ours by its library."""
    accounts = [call, *(get_field(call.get("metadata"), "same") or ())]
    scopes = [*map(_get_scope, accounts), call.get("library"), *(call.get("scopes") or ())]
    return {scope for scope in scopes if scope}


def get_counts(call: CallFields) -> tuple[Any, Any]:
    """Return input and output tokens, None where they are not told."""
    usage = list_fields(call.get("usage"))
    return usage.get("input_tokens"), usage.get("output_tokens")


def hash_answer(call: CallFields) -> int | None:
    """Return what is equal of two calls whose answers are the same words; None where there are none."""
    if (known := call.get("answer_hash")) is not None:
        return int(known)
    text = _join_texts(call.get("messages_out"))
    return hash(text) if text else None


def _join_texts(messages: Any) -> str:
    parts = [part for message in messages or () for part in message.get("parts") or ()]
    return "".join(str(part.get("content") or "") for part in parts if part.get("type") == "text")


def get_response_id(call: CallFields) -> str | None:
    """Return the id that the provider gave its answer, where the call has it."""
    response_id = get_field(_get_attributes(call), names.RESPONSE_ID)
    text = get_text(response_id if response_id is not None else get_field(call.get("output"), "id"))
    return None if text is None or text.startswith(_LANGCHAIN_IDS) else text


def _get_attributes(call: CallFields) -> CallFields:
    return list_fields(get_field(get_field(call.get("metadata"), "otel"), "attributes"))


def _get_scope(call: CallFields) -> str | None:
    """Return the scope of a span, or of what is kept of it."""
    return get_text(get_field(call.get("otel") or get_field(call.get("metadata"), "otel"), "scope"))


def check_overlap(one: CallFields, other: CallFields) -> bool:
    """Say whether two calls ran at one time; a call lasts until its end came (`arrived_ns`), where that is
    known: LlamaIndex's spans of streams say that they ended when the stream was handed over.
    """
    return bool(one["start_ns"] <= _get_end(other) and other["start_ns"] <= _get_end(one))


def _get_end(call: CallFields) -> int:
    return max(int(call["end_ns"]), int(call.get("arrived_ns") or 0))


def _check_models(one: CallFields, other: CallFields) -> bool:
    """Say whether a name of one is a name of the other, perhaps with a date behind or an owner before."""
    ours, theirs = _list_models(one), _list_models(other)
    if not ours or not theirs:
        return True
    return any(a.startswith(b) or b.startswith(a) for a in ours for b in theirs)


def _list_models(call: CallFields) -> list[str]:
    models = call.get("model"), get_field(call.get("metadata"), "request_model")
    return [name.lower().rpartition("/")[2] for name in models if isinstance(name, str) and name]


def _check_counts(one: CallFields, other: CallFields) -> bool:
    outputs = one.get("output_tokens"), other.get("output_tokens")
    if None not in outputs and outputs[0] != outputs[1]:
        return False
    inputs = one.get("input_tokens"), other.get("input_tokens")
    return (
        None in inputs
        or inputs[0] == inputs[1]
        or inputs[0] in _list_inputs(other)
        or inputs[1] in _list_inputs(one)
    )


def _list_inputs(usage: CallFields) -> set[int]:
    """Return the input tokens as others may count them: less those read from or written to a cache."""
    whole = usage["input_tokens"]
    read, written = usage.get("cache_read_tokens") or 0, usage.get("cache_write_tokens") or 0
    return {whole, whole - read, whole - written, whole - read - written}


def merge_calls(outer: CallFields, inner: CallFields) -> dict[str, Any]:
    """Return one call with all that two accounts of it say; ids and status are the outer's.

    What the inner one counts wins: it is nearer to the provider. `same` names the span that is merged in, and
    its attributes are kept under `metadata["same"]`.
    """
    merged = {name: inner[name] for name in _FILLED if inner.get(name) is not None}
    merged |= {name: value for name, value in outer.items() if value is not None}
    if (model := _get_answering_model(outer, inner)) is not None:
        merged["model"] = model
    merged["start_ns"] = min(outer["start_ns"], inner["start_ns"])
    merged["end_ns"] = max(outer["end_ns"], inner["end_ns"])
    for name in ("usage", "params"):
        both = {**list_fields(outer.get(name)), **list_fields(inner.get(name))}
        merged |= {name: both} if both else {}
    for name in ("messages_in", "messages_out"):
        longest = max(outer.get(name) or [], inner.get(name) or [], key=_count_parts)
        merged |= {name: longest} if longest else {}
    if tags := [*dict.fromkeys((*(outer.get("tags") or ()), *(inner.get("tags") or ())))]:
        merged["tags"] = tags
    merged["metadata"] = _merge_metadata(outer, inner)
    merged["same"] = [*(outer.get("same") or ()), inner["span_id"], *(inner.get("same") or ())]
    return merged


def _get_answering_model(outer: CallFields, inner: CallFields) -> str | None:
    """Return the model that answered: what the one that knows it says, beside the model asked for."""
    asked = get_field(inner.get("metadata"), "request_model")
    return get_text(inner.get("model")) if asked is not None and outer.get("model") == asked else None


def _count_parts(messages: Any) -> int:
    return sum(1 + len(message.get("parts") or ()) for message in messages)


def _merge_metadata(outer: CallFields, inner: CallFields) -> dict[str, Any]:
    ours, theirs = list_fields(outer.get("metadata")), list_fields(inner.get("metadata"))
    known = {name: value for name, value in theirs.items() if name not in ("otel", "same", "request_model")}
    accounts = [*(ours.get("same") or ()), build_account(inner), *(theirs.get("same") or ())]
    return {**known, **ours, "same": accounts}


def build_account(call: CallFields) -> dict[str, Any]:
    """Return what is kept of a span, or a call of an instrumented library, that was merged into another
    call.
    """
    account = {
        **list_fields(call.get("detail")),
        "span_id": call["span_id"],
        "name": call.get("name"),
        "otel": get_field(call.get("metadata"), "otel"),
    }
    return {name: value for name, value in account.items() if value is not None}


def drop_counts(call: CallFields, inner: str) -> dict[str, Any]:
    """Return a call as a step around the one that counts: a `chain` without tokens that `repeats` it."""
    rest = {name: value for name, value in call.items() if name not in _PAID}
    return {**rest, "kind": "chain", "metadata": {**list_fields(call.get("metadata")), "repeats": inner}}


def with_total(call: CallFields) -> dict[str, Any]:
    """Return a call whose tokens and cost are sums over inner calls: moved to `metadata["total"]`."""
    total = {name: call[name] for name in _PAID[:2] if call.get(name) is not None}
    rest = {name: value for name, value in call.items() if name not in _PAID}
    return {**rest, "metadata": {**list_fields(call.get("metadata")), "total": total}}
