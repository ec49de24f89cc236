"""Facts in the dialects of OpenAI: chat, completions and Responses, and of those who speak them."""

from __future__ import annotations

from typing import Any

from tests.traffic.facts import Facts, Say, get, parse_if_json

_TEXTS = ("text", "input_text", "output_text")
_MEDIA = ("image_url", "input_image", "input_audio", "image", "file", "input_file", "audio")


def content(value: Any, say: Say) -> None:
    """Note a message's content, a text or a list of pieces."""
    if isinstance(value, str):
        say("text", value)
    for piece in value if isinstance(value, list) else ():
        kind = piece.get("type")
        if kind in _TEXTS:
            say("text", piece["text"])
        elif kind == "refusal":
            say("text", piece["refusal"])
        elif kind in _MEDIA:
            say("media", kind)
        elif kind in ("thinking", "reasoning"):  # Mistral
            inner = piece.get("thinking")
            say("reasoning", "".join(part["text"] for part in inner) if isinstance(inner, list) else inner)


def tool_calls(message: dict[str, Any], say: Say) -> None:
    """Note what a message calls."""
    for call in message.get("tool_calls") or ():
        function = call["function"]
        say("call", (call.get("id"), function["name"], parse_if_json(function.get("arguments"))))
    if legacy := message.get("function_call"):
        say("call", (None, legacy["name"], parse_if_json(legacy["arguments"])))


def chat_request(request: dict[str, Any], facts: Facts) -> None:
    """Note the messages of a chat."""
    for message in request.get("messages") or ():
        say = facts.ask(message["role"])
        if message["role"] == "tool":
            told = message.get("content")
            plain = "\n".join(piece["text"] for piece in told) if isinstance(told, list) else told
            say("result", (message.get("tool_call_id"), plain))
            continue
        content(message.get("content"), say)
        tool_calls(message, say)
        if thought := message.get("reasoning_content"):
            say("reasoning", thought)


def chat_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the choices of a chat or a completion."""
    facts.model = body.get("model")
    count(body.get("usage") or get(body, "x_groq", "usage") or {}, facts)
    for choice in body.get("choices") or ():
        message = choice.get("message") or {}
        content(message.get("content") if "message" in choice else choice.get("text"), facts.answer)
        if refusal := message.get("refusal"):
            facts.answer("text", refusal)
        tool_calls(message, facts.answer)
        if thought := message.get("reasoning_content") or message.get("reasoning"):
            facts.answer("reasoning", thought)
        if message.get("audio"):
            facts.answer("media", "audio")
        if reason := choice.get("finish_reason"):
            facts.finish.append(reason)


def count(usage: dict[str, Any], facts: Facts) -> None:
    """Take the counts, whichever of the two sets of names they have."""
    given = "prompt_tokens" if "prompt_tokens" in usage else "input_tokens"
    made = "completion_tokens" if "completion_tokens" in usage else "output_tokens"
    inside, outside = usage.get(f"{given}_details") or {}, usage.get(f"{made}_details") or {}
    cached = inside.get("cached_tokens")
    facts.count(
        input_tokens=usage.get(given),
        output_tokens=usage.get(made),
        cache_read_tokens=usage.get("prompt_cache_hit_tokens") if cached is None else cached,
        cache_write_tokens=inside.get("cache_write_tokens"),
        reasoning_tokens=outside.get("reasoning_tokens"),
    )


def join_chat(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole answer that a stream's chunks make."""
    whole: dict[str, Any] = {"choices": []}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole["model"] = whole.get("model") or chunk.get("model")
        if usage := chunk.get("usage") or get(chunk, "x_groq", "usage"):
            whole["usage"] = usage
        for choice in chunk.get("choices") or ():
            _add(choices.setdefault(choice.get("index", 0), {"message": {"content": ""}}), choice)
    for choice in choices.values():
        calls = choice["message"].get("tool_calls")
        if calls:
            choice["message"]["tool_calls"] = list(calls.values())
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def _add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    message, delta = choice["message"], piece.get("delta") or {"content": piece.get("text")}
    told = delta.get("content")
    texts = [told] if isinstance(told, str) else [p["text"] for p in told or () if p["type"] == "text"]
    message["content"] += "".join(texts)
    for name in ("reasoning_content", "reasoning", "refusal"):
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    if isinstance(told, list):
        thoughts = [t["text"] for p in told if p["type"] == "thinking" for t in p["thinking"]]
        message["reasoning"] = message.get("reasoning", "") + "".join(thoughts)
    if delta.get("audio"):
        message["audio"] = True
    for call in delta.get("tool_calls") or ():
        whole = message.setdefault("tool_calls", {}).setdefault(call.get("index", 0), {"function": {}})
        whole["id"] = call.get("id") or whole.get("id")
        for name, value in (call.get("function") or {}).items():
            have = whole["function"].get(name)
            whole["function"][name] = (have or "") + (value or "") if isinstance(value, str | None) else value
    choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")


def responses_request(request: dict[str, Any], facts: Facts) -> None:
    """Note what goes into the Responses API."""
    if told := request.get("instructions"):
        facts.ask("system")("text", told)
    given = request.get("input")
    if isinstance(given, str):
        facts.ask("user")("text", given)
    for item in given if isinstance(given, list) else ():
        _item(item, facts.ask(item.get("role") or "assistant"))


def responses_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the items that come out."""
    facts.model = body.get("model")
    for item in body.get("output") or ():
        _item(item, facts.answer)
    if reason := get(body, "incomplete_details", "reason") or body.get("status"):
        facts.finish.append(reason)
    count(body.get("usage") or {}, facts)


def _item(item: dict[str, Any], say: Say) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        content(item.get("content"), say)
    elif kind == "function_call":
        say("call", (item["call_id"], item["name"], parse_if_json(item["arguments"])))
    elif kind == "custom_tool_call":
        say("call", (item["call_id"], item["name"], item["input"]))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        say("result", (item["call_id"], item["output"]))
    elif kind == "reasoning":
        pieces = item.get("summary") or item.get("content") or ()
        if pieces:
            say("reasoning", "\n".join(piece["text"] for piece in pieces))


def join_responses(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the response that a stream ends with; one that broke off has the items that were done."""
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    ends = [
        event["response"]
        for event in events
        if event["type"] in ("response.completed", "response.incomplete", "response.failed")
    ]
    if ends:
        return {**ends[-1], "output": ends[-1].get("output") or items}
    model = next((event["response"].get("model") for event in events if "response" in event), None)
    return {"model": model, "output": items}
