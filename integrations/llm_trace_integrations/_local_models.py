"""What a model of transformers, its settings and its arguments say of themselves, as JSON."""

from __future__ import annotations

import sys
from typing import Any

from llm_trace.attribution.models.live import HANDLE, note_live_model
from llm_trace.capture.callspan import current_call

_PLAIN = (bool, int, float, str, list, tuple, dict)


def read_model(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return what names a model, and the handle by which attribution finds it again."""
    revision = getattr(model.config, "_commit_hash", None)
    metadata = {HANDLE: note_live_model(model, tokenizer)} | ({"revision": revision} if revision else {})
    name = getattr(model, "name_or_path", "") or type(model).__name__
    return {"model": str(name), "provider": "transformers", "metadata": metadata}


def read_settings(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what the generation is set to, beside the defaults: the model's, the call's, and the seed."""
    given = arguments.get("generation_config")
    ours, theirs = model.generation_config, {} if given is None else given.to_diff_dict()
    named = {name: value for name, value in arguments.items() if hasattr(ours, name)}
    settings = {**ours.to_diff_dict(), **theirs, **named}
    settings = {n: v for n, v in settings.items() if isinstance(v, _PLAIN) and not n.startswith("_")}
    if settings.get("do_sample"):
        settings["seed"] = sys.modules["torch"].initial_seed()
    return settings | ({"stream": True} if arguments.get("streamer") is not None else {})


def note_first_token(streamer: Any) -> None:
    """Let the running call know when the streamer is handed its first token; it gets the prompt before."""
    put = streamer.put
    seen: list[bool] = []

    def noting(value: Any) -> None:
        if seen:
            del streamer.put  # nothing of ours is left
            if (call := current_call()) is not None:
                call.first_chunk()
        seen.append(True)
        put(value)

    if "put" not in vars(streamer):
        streamer.put = noting


def describe(value: Any) -> Any:
    """Return an argument as JSON; of tensors, models and caches only what they are."""
    if type(value) in _PLAIN[:4]:
        return value
    if isinstance(value, (list, tuple)):
        return [describe(each) for each in value]
    if isinstance(value, dict):
        return {str(name): describe(each) for name, each in value.items()}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return {"shape": list(value.shape), "dtype": str(value.dtype)}
    return type(value).__name__


def build_message(
    text: str | None, ids: list[int], reason: str | None, prompt: list[int] | None
) -> dict[str, Any]:
    """Return an answer as a message; ids are named as vLLM names them."""
    part: dict[str, Any] = {"type": "token_ids"} if text is None else {"type": "text", "content": text}
    part |= {} if prompt is None else {"prompt_token_ids": prompt}
    return {"role": "assistant", "parts": [{**part, "token_ids": ids}], "finish_reason": reason}
