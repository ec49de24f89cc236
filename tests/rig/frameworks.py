"""Ask for a recorded exchange through a framework that stands above the providers' clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.clients import Clients, NotSupportedError
from tests.rig.exchanges import Exchange

_LITELLM = {
    "openai": "openai", "azure-openai": "openai", "groq": "groq", "mistral": "mistral",
    "deepseek": "deepseek", "openrouter": "openrouter", "together": "together_ai",
    "anthropic": "anthropic", "ollama": "openai", "google": "openai",
}  # fmt: skip
"""Under which name LiteLLM knows a provider."""

Parts = tuple[Callable[..., Any], dict[str, Any], bool]
"""A method, its arguments, and whether it streams."""


def build_litellm(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Parts:
    """Return LiteLLM's function for a chat and what it takes.

    Raises:
        NotSupportedError: the exchange is no chat in OpenAI's dialect, nor texts alone in Anthropic's.
    """
    _check_chat(exchange, body, _LITELLM)
    litellm = pytest.importorskip("litellm")
    model = f"{_LITELLM[exchange.provider]}/{body.pop('model', 'unknown')}"
    address = clients.url if exchange.provider == "anthropic" else f"{clients.url}/v1"
    method = litellm.acompletion if clients.asynchronous else litellm.completion
    arguments = {
        **body,
        "model": model,
        "api_base": address,
        "api_key": "x",
        "num_retries": 0,
        "max_retries": 0,
    }
    if body.get("stream"):
        arguments["stream_options"] = {"include_usage": True}  # without it the program is told no counts
    return method, arguments, bool(body.get("stream"))


def build_langchain(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Parts:
    """Return the method of LangChain's chat model and what it takes.

    Raises:
        NotSupportedError: the exchange is no chat in OpenAI's dialect, nor texts alone in Anthropic's.
    """
    _check_chat(exchange, body, ("openai", "anthropic"))
    model, messages, stream = body.pop("model"), body.pop("messages"), bool(body.pop("stream", False))
    if exchange.provider == "anthropic":
        _forget_connections("langchain_anthropic._client_utils")
        chat = pytest.importorskip("langchain_anthropic").ChatAnthropic(
            model=model, base_url=clients.url, api_key="x", max_retries=0
        )
        messages = [
            *([{"role": "system", "content": body.pop("system")}] if "system" in body else []),
            *messages,
        ]
    else:
        _forget_connections("langchain_openai.chat_models._client_utils")
        chat = pytest.importorskip("langchain_openai").ChatOpenAI(
            model=model, base_url=f"{clients.url}/v1", api_key="x", max_retries=0, stream_usage=False
        )
    bound = clients.hold(chat).bind(**body)
    names = ("astream", "ainvoke") if clients.asynchronous else ("stream", "invoke")
    return getattr(bound, names[0] if stream else names[1]), {"input": messages}, stream


def _forget_connections(module: str) -> None:
    """Let LangChain make new ones: it keeps those to an address, closed ones too, and one may come again."""
    for value in vars(pytest.importorskip(module)).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def _check_chat(exchange: Exchange, body: dict[str, Any], providers: Any) -> None:
    anthropic = exchange.provider == "anthropic" and not {"tools", "thinking"} & body.keys()
    plain = anthropic and all(isinstance(message["content"], str) for message in body.get("messages", ()))
    if exchange.provider not in providers or not (plain or "chat/completions" in exchange.endpoint):
        raise NotSupportedError(exchange.endpoint)
