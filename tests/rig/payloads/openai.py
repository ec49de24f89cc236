"""Facts in the dialects of OpenAI: chat, completions, Responses, embeddings, and of those who speak them."""

from __future__ import annotations

from typing import Any

from tests.rig.exchanges import Exchange
from tests.rig.facts import AddFact, Facts, get, load_json

_TEXTS = ("text", "input_text", "output_text")
_MEDIA = ("image_url", "input_image", "input_audio", "image", "file", "input_file", "audio")
_ENDS = ("response.completed", "response.incomplete", "response.failed")


def read_chat(exchange: Exchange, facts: Facts) -> None:
    """Note the messages and choices of a chat."""
    read_chat_request(exchange.request, facts)
    if not facts.failed:
        events = exchange.events()
        read_chat_answer(join_chat(events) if events else exchange.json(), facts)


def read_completion(exchange: Exchange, facts: Facts) -> None:
    """Note the prompts and texts of a completion."""
    prompts = exchange.request["prompt"]
    for prompt in prompts if isinstance(prompts, list) else [prompts]:
        facts.speak("user")("text", prompt)
    read_chat(exchange, facts)


def read_responses(exchange: Exchange, facts: Facts) -> None:
    """Note the items that go into and come out of the Responses API."""
    if instructions := exchange.request.get("instructions"):
        facts.speak("system")("text", instructions)
    items = exchange.request.get("input")
    if isinstance(items, str):
        facts.speak("user")("text", items)
    for item in items if isinstance(items, list) else ():
        _read_item(item, facts.speak(item.get("role") or "assistant"))
    if not facts.failed:
        events = exchange.events()
        _read_responses_answer(_join_responses(events) if events else exchange.json(), facts)


def read_embedding(exchange: Exchange, facts: Facts) -> None:
    """Note the texts that are embedded, and the counts."""
    facts.operation = "embedding"
    texts = exchange.request.get("input")
    for text in texts if isinstance(texts, list) else [texts]:
        facts.speak("user")("text", text)
    if not facts.failed:
        body = exchange.json()
        facts.model = body.get("model")
        facts.count(input_tokens=get(body, "usage", "prompt_tokens"))


def read_content(content: Any, add: AddFact) -> None:
    """Note a message's content, a text or a list of pieces."""
    if isinstance(content, str):
        add("text", content)
    for piece in content if isinstance(content, list) else ():
        kind = piece.get("type")
        if kind in _TEXTS:
            add("text", piece["text"])
        elif kind == "refusal":
            add("text", piece["refusal"])
        elif kind in _MEDIA:
            add("media", kind)
        elif kind in ("thinking", "reasoning"):  # Mistral
            inner = piece.get("thinking")
            add("reasoning", "".join(part["text"] for part in inner) if isinstance(inner, list) else inner)
        else:
            add("other", kind)


def read_tool_calls(message: dict[str, Any], add: AddFact) -> None:
    """Note what a message calls."""
    for call in message.get("tool_calls") or ():
        function = call["function"]
        add("call", (call.get("id"), function["name"], load_json(function.get("arguments"))))
    if legacy := message.get("function_call"):
        add("call", (None, legacy["name"], load_json(legacy["arguments"])))


def read_chat_request(request: dict[str, Any], facts: Facts) -> None:
    """Note the messages of a chat."""
    for message in request.get("messages") or ():
        add, content = facts.speak(message["role"]), message.get("content")
        if message["role"] == "tool":
            text = "\n".join(piece["text"] for piece in content) if isinstance(content, list) else content
            add("result", (message.get("tool_call_id"), text))
            continue
        read_content(content, add)
        read_tool_calls(message, add)
        if thought := message.get("reasoning_content"):
            add("reasoning", thought)


def read_chat_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the choices of a chat or a completion."""
    facts.model = body.get("model")
    read_usage(body.get("usage") or get(body, "x_groq", "usage") or {}, facts)
    for choice in body.get("choices") or ():
        message = choice.get("message") or {}
        read_content(message.get("content") if "message" in choice else choice.get("text"), facts.answer)
        if refusal := message.get("refusal"):
            facts.answer("text", refusal)
        read_tool_calls(message, facts.answer)
        if thought := message.get("reasoning_content") or message.get("reasoning"):
            facts.answer("reasoning", thought)
        if message.get("audio"):
            facts.answer("media", "audio")
        if reason := choice.get("finish_reason"):
            facts.finish.append(reason)


def read_usage(usage: dict[str, Any], facts: Facts) -> None:
    """Take the counts, whichever of the two sets of names they have."""
    input_name = "prompt_tokens" if "prompt_tokens" in usage else "input_tokens"
    output_name = "completion_tokens" if "completion_tokens" in usage else "output_tokens"
    input_details = usage.get(f"{input_name}_details") or {}
    cached = input_details.get("cached_tokens")
    facts.count(
        input_tokens=usage.get(input_name),
        output_tokens=usage.get(output_name),
        cache_read_tokens=usage.get("prompt_cache_hit_tokens") if cached is None else cached,
        cache_write_tokens=input_details.get("cache_write_tokens"),
        reasoning_tokens=get(usage, f"{output_name}_details", "reasoning_tokens"),
    )


def join_chat(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole answer that a stream's chunks make."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        answer["model"] = answer.get("model") or chunk.get("model")
        if usage := chunk.get("usage") or get(chunk, "x_groq", "usage"):
            answer["usage"] = usage
        for piece in chunk.get("choices") or ():
            choice = choices.setdefault(piece.get("index", 0), {"message": {"content": ""}, "calls": {}})
            _extend_choice(choice, piece)
    for choice in choices.values():
        choice["message"]["tool_calls"] = list(choice["calls"].values())
    return {**answer, "choices": [choices[index] for index in sorted(choices)]}


def _extend_choice(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    message, delta = choice["message"], piece.get("delta") or {"content": piece.get("text")}
    content = delta.get("content")
    if isinstance(content, str):
        message["content"] += content
    elif isinstance(content, list):
        message["content"] += "".join(part["text"] for part in content if part["type"] == "text")
        thoughts = [inner["text"] for p in content if p["type"] == "thinking" for inner in p["thinking"]]
        message["reasoning"] = message.get("reasoning", "") + "".join(thoughts)
    for name in ("reasoning_content", "reasoning", "refusal"):
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    message["audio"] = delta.get("audio") or message.get("audio")
    for call in delta.get("tool_calls") or ():
        _extend_call(choice["calls"].setdefault(call.get("index", 0), {"function": {}}), call)
    choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")


def _extend_call(call: dict[str, Any], piece: dict[str, Any]) -> None:
    call["id"] = piece.get("id") or call.get("id")
    for name, value in (piece.get("function") or {}).items():
        before = call["function"].get(name) or ""
        call["function"][name] = before + (value or "") if isinstance(value, str | None) else value


def _read_responses_answer(body: dict[str, Any], facts: Facts) -> None:
    facts.model = body.get("model")
    for item in body.get("output") or ():
        _read_item(item, facts.answer)
    if reason := get(body, "incomplete_details", "reason") or body.get("status"):
        facts.finish.append(reason)
    read_usage(body.get("usage") or {}, facts)


def _read_item(item: dict[str, Any], add: AddFact) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        read_content(item.get("content"), add)
    elif kind == "function_call":
        add("call", (item["call_id"], item["name"], load_json(item["arguments"])))
    elif kind == "custom_tool_call":
        add("call", (item["call_id"], item["name"], item["input"]))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        add("result", (item["call_id"], item["output"]))
    elif kind == "reasoning":
        pieces = item.get("summary") or item.get("content") or ()
        text = "\n".join(piece["text"] for piece in pieces)
        add(*(("reasoning", text) if text else ("other", kind)))
    else:
        add("other", kind)


def _join_responses(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the response that a stream ends with; one that broke off has the items that were done."""
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    ends = [event["response"] for event in events if event["type"] in _ENDS]
    if ends:
        return {**ends[-1], "output": ends[-1].get("output") or items}
    model = next((event["response"].get("model") for event in events if "response" in event), None)
    return {"model": model, "output": items}
